//! What a device sees of the machine, and how its model is called.

use super::Machine;
use super::core::Core;
use super::queue::{Event, Item, ItemKind};
use crate::device::{Device, Transfer, TransferId, Wire};
use crate::memory::Banks;
use crate::time::Time;
use crate::tlp::Access;

/// The wire of one function.
#[derive(Debug)]
pub(super) struct Port<'a> {
    core: &'a mut Core,
    who: usize,
}

impl Wire for Port<'_> {
    fn now(&self) -> Time {
        Time::from_ps(self.core.now_ps)
    }

    fn start(&mut self, transfer: Transfer) -> TransferId {
        self.core.start(self.who, transfer, ItemKind::Device)
    }

    fn translate(&mut self, iova: u64, len: u64, access: Access) -> TransferId {
        let id = self.core.name();
        let item = Item::Translate {
            id,
            iova,
            len_bytes: len,
            access,
        };
        self.core.send(self.who, item);
        id
    }

    fn wake_at(&mut self, at: Time, cookie: u64) {
        if at.as_ps() >= Machine::END_PS {
            return;
        }
        let event = Event::Wake {
            function: self.who as u32,
            life: self.core.senders[self.who].life,
            cookie,
        };
        self.core.queue.push(at.as_ps().max(self.core.now_ps), event);
    }

    fn interrupt(&mut self, vector: u16) {
        self.core.send(self.who, Item::Interrupt { vector });
    }

    fn bar_address(&self, bar: u8) -> Option<u64> {
        let id = *self.core.ids.get(self.who)?;
        self.core.fabric.bar(id, bar).map(|(address, _)| address)
    }

    fn banks(&mut self) -> &mut Banks {
        &mut self.core.banks
    }
}

impl Machine {
    /// Calls the model of a function, if it has one.
    pub(super) fn with_index<R>(
        &mut self,
        who: usize,
        call: impl FnOnce(&mut dyn Device, &mut Port<'_>) -> R,
    ) -> Option<R> {
        let slot = self.devices.get_mut(who)?;
        let mut device = slot.take()?;
        let core = &mut self.core;
        let result = call(device.as_mut(), &mut Port { core, who });
        if let Some(slot) = self.devices.get_mut(who) {
            *slot = Some(device);
        }
        Some(result)
    }
}
