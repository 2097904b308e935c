//! `confgen route`.

use std::net::IpAddr;

use clap::Args;
use serde_json::{Value, json};

use super::context::Context;
use super::exit::{Exit, Failure};
use super::loaded::{ConfigurationArgs, Subject};
use crate::configuration::{Configuration, Texts};
use crate::diagnostic::{Code, Diagnostic};
use crate::route::{Outcome, Request, Route as Way, Step, route};

/// Say what serves a URL, and which line or key decides it: listener, virtual host, alias, application, process, interpreter.
#[derive(Debug, Args)]
#[command(
    after_help = "Nothing is sent, and no server has to run.\n\nExamples:\n  confgen route /etc/apache2 https://www.example.com/shop/\n  confgen route site.yaml http://localhost:8080/ --from 10.0.0.7 --header 'X-Forwarded-Proto: https'"
)]
pub(super) struct Route {
    #[command(flatten)]
    configuration: ConfigurationArgs,
    /// The URL that is asked for.
    #[arg(value_name = "URL")]
    url: String,
    /// The address of the client.
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// A header of the request; may be given more than once.
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// The method.
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: String,
}

impl Route {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let request = self.request()?;
        let subject = self.configuration.load(context)?;
        let loaded = &subject.loaded;
        let configuration = Configuration::of(&loaded.reading, loaded.partial);
        let texts = Texts::new(&loaded.reading);
        let found = route(&configuration, &request, subject.here);
        let places: Vec<Option<String>> =
            found.steps.iter().map(|step| Some(subject.place(&texts, &configuration.statements[step.at?]))).collect();
        match context.json {
            true => context.print_json(&as_json(&found, &places, &subject)),
            false => context.print(&shown(&found, &places)),
        }
        Ok(Exit::Ok)
    }

    fn request(&self) -> Result<Request, Failure> {
        let wrong =
            |message: String, help: &str| Failure::new(Exit::Spec, Diagnostic::error(Code::Form, message).help(help));
        let mut request =
            Request::parse(&self.url).map_err(|error| wrong(error.to_string(), "for example http://localhost/"))?;
        request.from = self.from;
        request.method.clone_from(&self.method);
        for header in &self.header {
            let Some((name, value)) = header.split_once(':').filter(|(name, _)| !name.trim().is_empty()) else {
                return Err(wrong(format!("`{header}` is no header"), "write --header 'Name: value'"));
            };
            request.headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(request)
    }
}

fn shown(found: &Way, places: &[Option<String>]) -> String {
    let mut rows: Vec<(String, String, String)> = found
        .steps
        .iter()
        .zip(places)
        .map(|(Step { what, value, .. }, place)| ((*what).to_owned(), value.clone(), place.clone().unwrap_or_default()))
        .collect();
    let result = |text: String| ("result".to_owned(), text, String::new());
    match &found.outcome {
        Outcome::Application(application) => {
            rows.push((
                "environ".to_owned(),
                format!("SCRIPT_NAME={:?} PATH_INFO={:?}", application.script_name, application.path_info),
                String::new(),
            ));
            rows.push(result(format!("`{}` of {}", application.callable, application.script)));
        }
        Outcome::File(file) => rows.push(result(format!("the file {file}"))),
        Outcome::Answer { status, location: Some(location) } => rows.push(result(format!("{status} to {location}"))),
        Outcome::Answer { status, location: None } => rows.push(result(format!("{status} from httpd"))),
        Outcome::Proxy(to) => rows.push(result(format!("passed on to {to}"))),
        Outcome::Open(why) => rows.push(result(why.clone())),
    }
    let width = |column: fn(&(String, String, String)) -> &String| {
        rows.iter().filter(|row| !row.2.is_empty()).map(|row| column(row).chars().count()).max().unwrap_or(0)
    };
    let value = width(|row| &row.1).min(60);
    rows.iter()
        .map(|(what, text, place)| format!("{what:<11}  {text:<value$}  {place}").trim_end().to_owned() + "\n")
        .collect()
}

fn as_json(found: &Way, places: &[Option<String>], subject: &Subject) -> Value {
    let steps: Vec<Value> = found
        .steps
        .iter()
        .zip(places)
        .map(|(step, place)| json!({"what": step.what, "value": step.value, "at": place}))
        .collect();
    let outcome = match &found.outcome {
        Outcome::Application(application) => json!({
            "kind": "application",
            "script": application.script,
            "script-name": application.script_name,
            "path-info": application.path_info,
            "process-group": application.group,
            "interpreter": application.interpreter,
            "callable": application.callable,
        }),
        Outcome::File(file) => json!({"kind": "file", "file": file}),
        Outcome::Answer { status, location } => json!({"kind": "answer", "status": status, "location": location}),
        Outcome::Proxy(to) => json!({"kind": "proxy", "to": to}),
        Outcome::Open(why) => json!({"kind": "open", "why": why}),
    };
    json!({"steps": steps, "outcome": outcome, "files-seen": subject.here})
}
