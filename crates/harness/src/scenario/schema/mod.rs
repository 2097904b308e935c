//! The format of scenarios (`harness/1`) as types. Their doc comments are the texts of the JSON Schema and of editors' hovers.

mod check;
mod export;
mod http;
mod load;
mod matrix;
mod members;
mod observe;
mod operate;
mod raw;
mod scenario;
mod step;

pub use check::{Check, Matcher, OPERATORS, Operator};
pub use export::json_schema;
pub use http::{Connection, Http, Listener, Method, Multipart, Part, Payload, Upload};
pub use load::{Connections, Load};
pub use matrix::{Axes, Expect, Expectation, Matrix, Mode, Module, Mpm, Needs, OneOrMany, PythonTag};
pub use members::{COMMON_MEMBERS, Member, SCOPE};
pub use observe::{Log, LogFile, Process, ProcessId, ProcessRole, Wait};
pub use operate::{Command, Concurrent, Exec, FileAction, FileStep, Signal, SignalTarget, Stop};
pub use raw::{Bytes, Exchange, Expected, Raw, RawEnd, Repeated};
pub use scenario::{Cover, FileContent, FileEntry, LaunchMode, PortName, Scenario, SchemaTag, StartRule, Variant};
pub use step::{
    Action, DeathAllowance, Deferred, LogAllowance, Repeat, RepeatUntil, STEPS, Step, StepDefinition, StepKind,
};
