//! How far a controller is, and why it was stopped: what [`crate::control`] moves through, and what queues ask of it.

use crate::slots::CommandId;
use peerdma::device::DeviceError;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Stopping { until_ns: u64, next: Next },
    Starting { until_ns: u64 },
    Counting { asked: CommandId },
    Running,
    Ended(Ended),
}

/// What comes after a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another start.
    Start,
    /// Nothing.
    End(Ended),
}

/// It does nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was closed.
    Closed,
    /// The device is gone.
    Removed,
    /// It was given up.
    Dead,
    /// It could not even be stopped: what it reaches it may still write to.
    Loose,
}

/// Why it was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// To begin with.
    Opened,
    /// CSTS.CFS.
    Fatal,
    /// CSTS.RDY did not come.
    NotReady,
    /// CSTS.RDY went away by itself: somebody else has reset it.
    Foreign,
    /// Something that it may not do, or a command that did not end.
    Unsound(&'static str),
    /// The host or the device could not be used.
    Device(DeviceError),
}

/// What a queue may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Wait.
    Wait,
    /// Be made, and work.
    Run,
    /// Nothing.
    Ended(Ended),
}
