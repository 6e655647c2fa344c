//! Routes of TLPs under way, kept until nobody needs them, and turned into what time depends on.

use super::channel::Channel;
use super::link::{Channels, Hop, Hops};
use crate::blueprint::Nature;
use crate::fabric::{Direction, End, Explain, FunctionId, Leg, LinkId, Route};

/// No delay is longer, whatever a blueprint made by hand says: 18 minutes, so that sums of delays stay times. Machine files
/// and snapshots stay far below.
pub(super) const MOST_PS: u64 = 1 << 50;

/// A route, and the channels on it.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) route: Route,
    pub(super) way: Hops,
    /// What the way was laid for.
    laid: Vec<Leg>,
    /// The address that was routed; the route holds for some bytes from there on.
    pub(super) base: u64,
    /// The way of the last completion.
    pub(super) completion: Option<CompletionPath>,
    uses: u32,
}

/// The way of completions for requests of one route.
#[derive(Debug, Clone, Copy)]
pub(super) struct CompletionPath {
    pub(super) path: u32,
    pub(super) payload_bytes: u64,
    pub(super) routes: u64,
}

impl Path {
    /// Where a request for `address` ends, and for how many bytes from there on that goes on.
    pub(super) fn end_at(&self, address: u64) -> (End, u64) {
        let further = address.wrapping_sub(self.base);
        let end = match self.route.end {
            End::Function {
                function,
                bar,
                offset,
            } => End::Function {
                function,
                bar,
                offset: offset.saturating_add(further),
            },
            End::Ram { phys } => End::Ram {
                phys: phys.saturating_add(further),
            },
            end => end,
        };
        (end, self.route.holds_bytes.saturating_sub(further))
    }
}

/// All routes under way; their places are used again.
#[derive(Debug)]
pub(super) struct Paths {
    paths: Vec<Path>,
    free: Vec<u32>,
    explain: Explain,
}

impl Paths {
    pub(super) fn new(explain: Explain) -> Self {
        Self {
            paths: Vec::new(),
            free: Vec::new(),
            explain,
        }
    }

    /// A place with one use.
    pub(super) fn take(&mut self) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.paths.push(Path {
                route: Route::new(self.explain),
                way: Hops::default(),
                laid: Vec::new(),
                base: 0,
                completion: None,
                uses: 0,
            });
            self.paths.len() as u32 - 1
        });
        self.paths[index as usize].uses = 1;
        index
    }

    pub(super) fn share(&mut self, index: u32) {
        self.paths[index as usize].uses += 1;
    }

    pub(super) fn release(&mut self, index: u32) {
        let path = &mut self.paths[index as usize];
        path.uses -= 1;
        if path.uses == 0 {
            self.free.push(index);
            if let Some(completion) = path.completion.take() {
                self.release(completion.path);
            }
        }
    }

    /// Two different places at once.
    pub(super) fn pair(&mut self, shared: u32, changed: u32) -> (&Path, &mut Path) {
        let (shared, changed) = (shared as usize, changed as usize);
        if shared < changed {
            let (before, after) = self.paths.split_at_mut(changed);
            (&before[shared], &mut after[0])
        } else {
            let (before, after) = self.paths.split_at_mut(shared);
            (&after[0], &mut before[changed])
        }
    }

    pub(super) fn get(&self, index: u32) -> &Path {
        &self.paths[index as usize]
    }

    pub(super) fn get_mut(&mut self, index: u32) -> &mut Path {
        &mut self.paths[index as usize]
    }
}

/// What turns legs into hops.
#[derive(Debug)]
pub(super) struct Map {
    switch_ps: u64,
    root_complex_ps: u64,
    /// Conventional buses that were crossed so far: the bridge above, the channel.
    pub(super) conventional: Vec<(FunctionId, u32)>,
}

impl Map {
    pub(super) fn new(nature: &Nature) -> Self {
        Self {
            switch_ps: nature.switch_ps.min(MOST_PS),
            root_complex_ps: nature.root_complex_ps.min(MOST_PS),
            conventional: Vec::new(),
        }
    }

    /// The channel of a direction of a link.
    pub(super) fn channel(link: LinkId, direction: Direction) -> u32 {
        let link = link.index() as u32 * 2;
        match direction {
            Direction::Up => link,
            Direction::Down => link + 1,
        }
    }

    /// The channels on a path's way: mostly those of the one that had its place before.
    pub(super) fn lay(&mut self, path: &mut Path, channels: &mut Channels) {
        if path.laid != path.route.legs {
            path.laid.clone_from(&path.route.legs);
            self.lay_legs(&path.laid, &mut path.way, channels);
        }
    }

    fn lay_legs(&mut self, legs: &[Leg], way: &mut Hops, channels: &mut Channels) {
        way.hops.clear();
        let (mut before_ps, mut ahead_ps) = (0, 0);
        for leg in legs {
            match *leg {
                Leg::Switch { .. } => before_ps += self.switch_ps,
                Leg::RootComplex => before_ps += self.root_complex_ps,
                Leg::Link { link, direction } => {
                    let channel = Self::channel(link, direction);
                    way.hops.push(Hop {
                        channel,
                        opposite: channel ^ 1,
                        before_ps,
                    });
                    let channel = &mut channels.channels[channel as usize];
                    ahead_ps += before_ps;
                    channel.is_ahead_by(ahead_ps);
                    ahead_ps += channel.least_carry_ps();
                    before_ps = 0;
                }
                Leg::ConventionalBus { bridge } => {
                    let channel = self.conventional(bridge, channels);
                    way.hops.push(Hop {
                        channel,
                        opposite: channel,
                        before_ps,
                    });
                    let channel = &mut channels.channels[channel as usize];
                    ahead_ps += before_ps;
                    channel.is_ahead_by(ahead_ps);
                    ahead_ps += channel.least_carry_ps();
                    before_ps = 0;
                }
            }
        }
        way.behind_ps = before_ps;
    }

    fn conventional(&mut self, bridge: FunctionId, channels: &mut Channels) -> u32 {
        if let Some((_, channel)) = self.conventional.iter().find(|(known, _)| *known == bridge) {
            return *channel;
        }
        let channel = channels.channels.len() as u32;
        channels.channels.push(Channel::conventional());
        self.conventional.push((bridge, channel));
        channel
    }
}
