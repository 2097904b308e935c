//! A gateway that is looked at from outside while a request is served.

use std::os::fd::BorrowedFd;

use wsgi_protocol::abi::{Level, Record};

use crate::gateway::{Gateway, Head, ReadFailure, SendFailure};

/// A gateway that notices whether the head was sent.
pub(super) struct Watched<'a> {
    pub(super) gateway: &'a mut dyn Gateway,
    pub(super) sent: &'a mut bool,
}

impl Gateway for Watched<'_> {
    fn accept(&mut self) -> bool {
        self.gateway.accept()
    }

    fn read_body(&mut self, buffer: &mut [u8]) -> Result<usize, ReadFailure> {
        self.gateway.read_body(buffer)
    }

    fn send_head(&mut self, head: &Head<'_>) -> Result<(), SendFailure> {
        *self.sent = true;
        self.gateway.send_head(head)
    }

    fn send_body(&mut self, data: &[u8], last: bool) -> Result<(), SendFailure> {
        self.gateway.send_body(data, last)
    }

    fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, length: u64) -> Result<(), SendFailure> {
        self.gateway.send_file(file, offset, length)
    }

    fn log(&mut self, record: &Record<'_>) {
        self.gateway.log(record);
    }

    fn try_log(&mut self, record: &Record<'_>) -> bool {
        self.gateway.try_log(record)
    }

    fn logs(&mut self, level: Level) -> bool {
        self.gateway.logs(level)
    }

    fn request_id(&mut self) -> Vec<u8> {
        self.gateway.request_id()
    }
}
