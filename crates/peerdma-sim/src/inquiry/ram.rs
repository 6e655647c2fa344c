//! Requests for host RAM, asked about as those for the memory of functions are.

use super::{Fate, Inquirer, RamQuestion, way};
use crate::fabric::{Completer, Direction, End, Leg};
use crate::tlp::{Access, AddressType, Request};
use peerdma::addr::Address;
use peerdma::fact::Fact;
use peerdma::snapshot::IommuMode;

/// What the processors take for interrupts.
const INTERRUPTS: (u64, u64) = (0xfee0_0000, 0xfeef_ffff);

impl Inquirer {
    /// What becomes of a request for RAM of as many bytes as its sender puts into one packet. [`Fate::NoAddress`] where no page of RAM has a
    /// name for the client that is nothing else's.
    pub fn ask_ram(&mut self, question: RamQuestion) -> Fate {
        let Some((phys, address)) = self.ram_address(question) else {
            return Fate::NoAddress;
        };
        let client = self.fabric.function(question.client);
        let len_bytes = match question.access {
            Access::Read => client.max_read_request_bytes,
            Access::Write => client.max_payload_bytes,
        };
        let request = Request {
            requester: client.bdf,
            access: question.access,
            address,
            len_bytes: len_bytes.into(),
            address_type: question.address_type,
            ordering: question.ordering,
        };
        self.fabric.route_request(&request, &mut self.request);
        match self.request.end {
            End::Ram { phys: found } if found == phys => {}
            End::Lost(loss) => return Fate::Lost(loss),
            end => return Fate::Astray(end),
        }
        let request_way = way(&self.request);
        if question.access == Access::Write {
            return Fate::Delivered {
                request: request_way,
                completion: request_way,
            };
        }
        // The root complex packs completions as the port of the first link is set.
        let port = self.request.legs.iter().rev().find_map(|leg| match *leg {
            Leg::Link {
                link,
                direction: Direction::Up,
            } => Some(self.fabric.link(link).port),
            _ => None,
        });
        let most_bytes = port.map_or(len_bytes, |port| self.fabric.function(port).max_payload_bytes);
        self.fabric.route_completion(
            Completer::RootComplex,
            &request,
            &self.request,
            len_bytes.min(most_bytes).into(),
            &mut self.completion,
        );
        match self.completion.end {
            End::Requester => Fate::Delivered {
                request: request_way,
                completion: way(&self.completion),
            },
            End::Lost(loss) => Fate::Lost(loss),
            end => Fate::Astray(end),
        }
    }

    /// A page of RAM, and by which address the client reaches nothing but that.
    fn ram_address(&self, question: RamQuestion) -> Option<(u64, u64)> {
        let Fact::Known(ram) = &self.snapshot.host.ram else {
            return None;
        };
        let is_mapped = self.snapshot.host.iommu == Fact::Known(IommuMode::Translating)
            && question.address_type == AddressType::Untranslated;
        let offset = self.inbound_offsets[question.client.index()];
        let name = |phys: u64| match is_mapped {
            true => Self::IOVA_BASE.checked_add(phys),
            false => phys.checked_add_signed(offset.checked_neg()?),
        };
        let pages = ram.iter().flat_map(|span| {
            let (first, last) = (span.first().to_u64(), span.last().to_u64());
            let first = first.next_multiple_of(Self::PAGE_BYTES);
            let pages = last.saturating_add(1).saturating_sub(first) / Self::PAGE_BYTES;
            [pages / 2, pages.saturating_sub(1), 0]
                .into_iter()
                .filter(move |page| *page < pages)
                .map(move |page| first + page * Self::PAGE_BYTES)
        });
        let mut named = pages.filter_map(|phys| Some((phys, name(phys)?)));
        named.find(|&(phys, address)| self.is_free(address) && !self.is_in_host_window(phys))
    }

    /// Does a page of addresses lie in no window, no BAR, and not where interrupts go?
    fn is_free(&self, address: u64) -> bool {
        let Some(end) = address.checked_add(Self::PAGE_BYTES - 1) else {
            return false;
        };
        let meets = |first: u64, last: u64| first <= end && address <= last;
        let is_taken = self.snapshot.functions().iter().any(|function| {
            let windows = function.bridge().and_then(|bridge| bridge.windows.known());
            let windows = windows.map(|windows| [windows.memory, windows.prefetchable]);
            let in_window = (windows.into_iter().flatten().flatten())
                .any(|window| meets(window.first().to_u64(), window.last().to_u64()));
            let in_bar = (function.bars().known().into_iter().flatten()).any(|bar| {
                let (first, size) = (bar.bus_address.known(), bar.size_bytes.known());
                let span = first.map(|first| first.to_u64()).zip(size);
                span.is_some_and(|(first, size)| meets(first, first.saturating_add(size.saturating_sub(1))))
            });
            in_window || in_bar
        });
        !is_taken && !meets(INTERRUPTS.0, INTERRUPTS.1)
    }

    fn is_in_host_window(&self, phys: u64) -> bool {
        let Fact::Known(bridges) = &self.snapshot.host.bridges else {
            return false;
        };
        let windows = bridges
            .iter()
            .filter_map(|bridge| bridge.windows.as_ref().known());
        windows.flatten().any(|window| {
            let first = window.phys.to_u64();
            let last = first.saturating_add(window.bus.len_minus_one());
            first <= phys.saturating_add(Self::PAGE_BYTES - 1) && phys <= last
        })
    }
}
