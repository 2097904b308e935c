//! Safe newtypes over Apache's types, one file per type. Nothing here knows of WSGI.
//!
//! A value such as [`Request<'r>`] borrows the host's structure for the time `'r` that the host promises; strings that
//! it returns live in a pool that lives at least as long. All of them are `Copy` and none hands out `&mut`.

mod brigade;
mod config_tree;
mod connection;
pub(crate) mod files;
pub(crate) mod log;
pub(crate) mod mpm;
mod pool;
mod regex;
pub(crate) mod request;
pub(crate) mod scoreboard;
mod sections;
mod server;
pub(crate) mod status;
mod stream_bucket;
mod table;
mod users;

pub(crate) use brigade::{AprError, Brigade, Fetched, Sending, status_of_read_failure};
pub(crate) use config_tree::refuse_unknown;
pub(crate) use connection::{Connection, Patience};
pub(crate) use log::{Target, main_server};
pub(crate) use mpm::{MainState, Mpm, is_single_process, main_state, server_description};
pub(crate) use pool::Pool;
pub(crate) use regex::Regex;
pub(crate) use request::{FileKind, Request};
pub(crate) use sections::{HandlerSetting, module_number, sections};
pub(crate) use server::{Server, module_config, server_relative, set_module_config};
pub(crate) use status::{Failure, Status, Verdict};
pub(crate) use stream_bucket::Source;
pub(crate) use table::Table;
pub(crate) use users::{ServingUser, User, group_id, group_name, serving_user, user, user_name};
