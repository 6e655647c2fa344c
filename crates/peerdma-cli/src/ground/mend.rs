//! What to do where memory cannot be mapped for a device of a real machine.

use super::Sort;
use crate::error::{Failure, Problem};
use peerdma::dma::{MapError, Refused};
use peerdma::iommu::IommuError;
use peerdma_linux::vfio::VfioError;
use peerdma_nvme::{Cause, Error};

/// `ENOMEM`: of VFIO, the limit of locked memory.
const NO_MEMORY: i32 = 12;

/// What is said here to whoever needs too much memory at once.
const LESS: &str = "ask for less at once";

/// The same failure with the options of a command by which less is asked for at once: what is said here fits every command.
pub(crate) fn naming(failure: Failure, options: &str) -> Failure {
    match failure {
        Failure::Bad(mut problem) => {
            problem.fix = problem.fix.replace(LESS, &format!("{LESS} ({options})"));
            Failure::Bad(problem)
        }
        Failure::NobodyReads => failure,
    }
}

/// What to do about a controller's error; what is usual for this sort of machine where nothing better is known.
pub(super) fn of_controller(error: &Error, sort: Sort) -> &'static str {
    match &error.cause {
        Cause::Map(error) => of_map(error, sort).unwrap_or(sort.mend_controller()),
        Cause::Dead(_) | Cause::AdminLost { .. } | Cause::Removed | Cause::Registers { .. }
            if sort == Sort::Live =>
        {
            "try it again; if it stays so, `dmesg` tells who resets the controller or switches its memory off, and binding it again lets the kernel set it up anew"
        }
        _ => sort.mend_controller(),
    }
}

/// What to do about memory that was not mapped; nothing where its own words say all.
pub(crate) fn of_map(error: &MapError, sort: Sort) -> Option<&'static str> {
    if sort == Sort::Simulated {
        return None;
    }
    match error {
        MapError::Iommu(IommuError::System(NO_MEMORY)) => Some(
            "allow more locked memory (`ulimit -l`; for good `memlock` in /etc/security/limits.conf), or ask for less at once",
        ),
        MapError::Unreachable {
            refused: Refused::Unknown { .. } | Refused::Undecided(_),
            ..
        } => Some("ask as root, who may read all of configuration space and /proc/iomem"),
        _ => None,
    }
}

/// The same problem in the kernel's own terms, where it was the kernel that refused to map: an error number alone says little.
pub(crate) fn explained(problem: Problem, error: &MapError, refused: Option<VfioError>) -> Problem {
    let (MapError::Iommu(IommuError::System(_)), Some(refused)) = (error, refused) else {
        return problem;
    };
    Problem {
        why: format!("{}: {}", refused.what(), refused.why()),
        fix: match &refused {
            VfioError::Memlock { .. } => format!("{}; or {LESS}", refused.fix()),
            _ => refused.fix(),
        },
        ..problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem() -> Problem {
        Problem::new(
            "nvme0n1 cannot be used",
            "the system refused it (error 12)",
            "look",
        )
    }

    #[test]
    fn a_limit_of_locked_memory_is_named_with_how_much_is_needed() {
        let refused = VfioError::Memlock {
            limit_bytes: 64 << 10,
            locked_bytes: 60 << 10,
            needed_bytes: 8 << 10,
        };
        let error = MapError::Iommu(IommuError::System(NO_MEMORY));
        let told = explained(problem(), &error, Some(refused));
        assert_eq!(told.error, "nvme0n1 cannot be used");
        for (text, word) in [
            (&told.why, "8 KiB"),
            (&told.why, "60 KiB of the 64 KiB"),
            (&told.fix, "`ulimit -l 68`"),
            (&told.fix, "less at once"),
        ] {
            assert!(text.contains(word), "{told:?}");
        }
    }

    #[test]
    fn each_command_names_the_options_that_it_has() {
        let problem = Problem::new("RAM", "too little", format_args!("{LESS}, or allow more"));
        let Failure::Bad(told) = naming(problem.into(), "--block, --depth") else {
            panic!("it is no problem any more");
        };
        assert_eq!(told.fix, "ask for less at once (--block, --depth), or allow more");
        for sort in [Sort::Simulated, Sort::Live] {
            assert!(sort.mend_ram().contains(LESS));
        }
        let error = MapError::Iommu(IommuError::System(NO_MEMORY));
        assert!(of_map(&error, Sort::Live).is_some_and(|fix| fix.contains(LESS)));
    }

    #[test]
    fn an_error_that_is_not_the_kernels_keeps_its_own_words() {
        let refused = VfioError::NoType1;
        let error = MapError::Iommu(IommuError::BadRange);
        assert_eq!(explained(problem(), &error, Some(refused)), problem());
        let error = MapError::Iommu(IommuError::System(NO_MEMORY));
        assert_eq!(explained(problem(), &error, None), problem());
    }
}
