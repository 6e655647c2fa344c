//! temporary
use super::Pairs;
use crate::error::Failure;
use crate::report::Out;
pub(super) fn write(_pairs: &Pairs<'_>, out: &mut Out) -> Result<(), Failure> {
    out.print("")
}
