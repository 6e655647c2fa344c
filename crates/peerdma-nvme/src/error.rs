//! Why a controller or a queue could not be opened or closed.

use crate::entry;
use crate::identify::Unusable;
use core::fmt;
use peerdma::addr::Bdf;
use peerdma::device::DeviceError;
use peerdma::dma::{LookUpError, MapError};

/// What failed, and of which controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The controller.
    pub controller: Bdf,
    /// What failed.
    pub cause: Cause,
}

/// What failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The device is gone.
    Removed,
    /// The device or the host cannot be used.
    Device(DeviceError),
    /// It offers no NVM command set (CAP.CSS).
    NoNvmCommandSet,
    /// Its registers say what cannot be.
    Registers {
        /// Which, and what is wrong.
        what: &'static str,
    },
    /// CSTS.RDY did not follow CC.EN in the time that CAP.TO gives.
    NotReady {
        /// How long was waited, in nanoseconds.
        after_ns: u64,
    },
    /// The controller has failed (CSTS.CFS), and a reset did not help.
    Fatal,
    /// It was given up.
    Dead(&'static str),
    /// An admin command was refused.
    Admin {
        /// Which.
        command: &'static str,
        /// Status code type in bits 10:8, status code in 7:0.
        status: u16,
    },
    /// An admin command did not end: the controller was reset.
    AdminLost {
        /// Which.
        command: &'static str,
    },
    /// There is no such namespace.
    NoSuchNamespace {
        /// Which.
        id: u32,
    },
    /// The namespace cannot be used.
    Namespace {
        /// Which.
        id: u32,
        /// Why.
        why: Unusable,
    },
    /// The controller has no queue left.
    NoQueue {
        /// How many it has.
        pairs: u16,
    },
    /// The controller takes no SGLs.
    NoSgl,
    /// Memory of a queue was not found.
    LookUp(LookUpError),
    /// Memory of a queue could not be mapped.
    Map(MapError),
    /// Memory of a queue cannot be where it was to be.
    Place {
        /// What was to be there.
        what: &'static str,
        /// Why it cannot.
        why: &'static str,
    },
    /// The mapper is for another function.
    ForeignMapper {
        /// For which.
        initiator: Bdf,
    },
    /// The IOMMU kept a mapping: its memory is not given back.
    StillMapped,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NVMe controller {}: ", self.controller)?;
        match &self.cause {
            Cause::Removed => f.write_str("the device is gone"),
            Cause::Device(source) => source.fmt(f),
            Cause::NoNvmCommandSet => {
                f.write_str("it offers no NVM command set, and cannot be used for blocks")
            }
            Cause::Registers { what } => write!(f, "its registers say what cannot be: {what}"),
            Cause::NotReady { after_ns } => write!(
                f,
                "it did not become ready within {} ms; reset it, or look at its power and firmware",
                after_ns / 1_000_000
            ),
            Cause::Fatal => f.write_str("it has failed (CSTS.CFS), and a reset did not help"),
            Cause::Dead(why) => write!(f, "it was given up: {why}"),
            Cause::Admin { command, status } => {
                let meaning = entry::meaning(*status);
                write!(f, "it refused {command}: {meaning} (status {status:#x})")
            }
            Cause::AdminLost { command } => write!(f, "{command} did not end, and the controller was reset"),
            Cause::NoSuchNamespace { id } => write!(f, "it has no active namespace {id}"),
            Cause::Namespace { id, why } => write!(f, "namespace {id} cannot be used: {why}"),
            Cause::NoQueue { pairs } => {
                write!(
                    f,
                    "all of its {pairs} queue pairs are in use; close a volume first"
                )
            }
            Cause::NoSgl => f.write_str("it takes no SGLs; use PRP lists"),
            Cause::LookUp(source) => source.fmt(f),
            Cause::Map(source) => source.fmt(f),
            Cause::Place { what, why } => write!(f, "{what} cannot be there: {why}"),
            Cause::ForeignMapper { initiator } => write!(f, "the mapper is for {initiator}"),
            Cause::StillMapped => f.write_str("the IOMMU did not unmap its memory, which stays allocated"),
        }
    }
}

impl core::error::Error for Error {}

impl Cause {
    pub(crate) fn of(self, controller: Bdf) -> Error {
        Error {
            controller,
            cause: self,
        }
    }
}

impl From<DeviceError> for Cause {
    fn from(source: DeviceError) -> Self {
        match source {
            DeviceError::Removed => Self::Removed,
            source => Self::Device(source),
        }
    }
}

impl From<LookUpError> for Cause {
    fn from(source: LookUpError) -> Self {
        Self::LookUp(source)
    }
}

impl From<MapError> for Cause {
    fn from(source: MapError) -> Self {
        Self::Map(source)
    }
}
