//! Time for who polls: on to the next moment at which memory or registers may look different.

use super::Machine;
use crate::time::Time;

/// What lies closer together than this is seen at once: about as often as a processor looks.
const LOOK_PS: u64 = 200_000;

impl Machine {
    /// Goes on until something happened, or data landed, that a processor may be waiting for; `false` where nothing will
    /// happen any more.
    pub fn step_or_land(&mut self) -> bool {
        if let Some(landing_ps) = self.core.landings.next_ps() {
            let look_ps = landing_ps.max(self.core.now_ps.saturating_add(LOOK_PS));
            if self.next_event_ps().is_none_or(|event_ps| look_ps < event_ps) {
                self.run_until(Time::from_ps(look_ps));
                return true;
            }
        }
        self.step()
    }
}
