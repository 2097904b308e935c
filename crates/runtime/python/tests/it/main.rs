//! The adapter's rules, shown in a Python that runs in this test process.
//!
//! The gateway is a recording one written here: it stands for the other end of either transport, not for Apache or for
//! Python. What a real server makes of it is shown by the scenarios.

mod api_page;
mod daemon;
mod environ;
mod faults;
mod input;
mod interpreters;
mod loading;
mod logs;
mod metrics;
mod process;
mod python_api;
mod response;
mod server;
mod start_response;
mod tables;
mod telemetry;
