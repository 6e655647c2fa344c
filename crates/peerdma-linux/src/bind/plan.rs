//! What is to be done: looked at, decided and refused before anything is touched.

use super::present::{Present, folder, members};
use super::{Hands, Obstacle, Record, Refusal, System, VFIO, in_use};
use peerdma::addr::Bdf;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// Which functions of an IOMMU group are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupWish {
    /// Those that were named.
    Named,
    /// All of the groups of those that were named, except bridges.
    Whole,
}

/// Functions that change hands, each from where it stands to where it shall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Those that change hands.
    pub taken: Vec<Taken>,
    /// Those that are bound to vfio-pci already, whoever did it: left alone.
    pub already: Vec<Bdf>,
}

/// One function that changes hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The function.
    pub bdf: Bdf,
    /// Its IOMMU group.
    pub group: Option<u32>,
    /// Who drives it now.
    pub from: Option<String>,
    /// Who shall.
    pub to: Option<String>,
    /// What is done, in order.
    pub steps: Vec<Step>,
    pub(super) wanted: Standing,
    pub(super) before: Standing,
}

/// Who drives a function, and who alone may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) driver: Option<String>,
    pub(super) driver_override: Option<String>,
}

/// One thing that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Writes the record.
    Keep {
        /// Its file.
        path: PathBuf,
        /// What is kept.
        record: Box<Record>,
    },
    /// Writes to an attribute of sysfs.
    Write {
        /// The attribute.
        path: PathBuf,
        /// What is written, without the line end.
        text: String,
    },
    /// Removes the record.
    Forget {
        /// Its file.
        path: PathBuf,
        /// What it held, to be written again if a later step fails.
        record: Box<Record>,
    },
}

/// Plans to bind functions to vfio-pci.
///
/// # Errors
/// Everything that stands in the way, of all functions at once. Nothing was changed; a block device that nobody else claims was
/// claimed for a moment.
pub fn plan(
    system: &System,
    hands: &mut impl Hands,
    named: &[Bdf],
    wish: GroupWish,
    state: &Path,
) -> Result<Plan, Vec<Refusal>> {
    let (functions, mut refusals) = meant(system, named, wish);
    let boot = boot(system);
    let mut plan = Plan {
        taken: Vec::new(),
        already: Vec::new(),
    };
    if !system.has(format!("sys/bus/pci/drivers/{VFIO}"))
        && let Some(first) = functions.first()
    {
        refusals.push(Refusal {
            bdf: first.bdf,
            obstacle: Obstacle::NoVfio,
        });
    }
    let chosen: BTreeSet<Bdf> = functions.iter().map(|function| function.bdf).collect();
    for function in functions {
        let mut obstacles = unfit(system, &function, &chosen);
        let file = Record::path(state, function.bdf);
        match function.is_lent() {
            true => plan.already.push(function.bdf),
            false => {
                if file.symlink_metadata().is_ok() {
                    obstacles.push(Obstacle::Recorded {
                        file: file.display().to_string(),
                    });
                }
                if !function.is_bridge() {
                    obstacles.extend(in_use::uses(system, hands, function.bdf));
                }
                let before = Standing::of(&function);
                let record = Record::new(
                    function.bdf,
                    before.driver.clone(),
                    before.driver_override.clone(),
                    boot.clone(),
                );
                let wanted = Standing {
                    driver: Some(VFIO.into()),
                    driver_override: Some(VFIO.into()),
                };
                let record = Box::new(record);
                let mut steps = vec![Step::Keep { path: file, record }];
                steps.extend(before.steps_to(&wanted, system, function.bdf));
                plan.taken.push(Taken {
                    bdf: function.bdf,
                    group: function.group,
                    from: before.driver.clone(),
                    to: wanted.driver.clone(),
                    steps,
                    wanted,
                    before,
                });
            }
        }
        let bdf = function.bdf;
        refusals.extend(obstacles.into_iter().map(|obstacle| Refusal { bdf, obstacle }));
    }
    match refusals.is_empty() {
        true => Ok(plan),
        false => Err(refusals),
    }
}

/// Plans to put back what [`plan`] wrote down.
///
/// # Errors
/// Everything that stands in the way. Nothing was changed.
pub fn returns(system: &System, named: &[Bdf], wish: GroupWish, state: &Path) -> Result<Plan, Vec<Refusal>> {
    let (functions, mut refusals) = meant(system, named, wish);
    let boot = boot(system);
    let mut taken = Vec::new();
    for function in functions {
        let bdf = function.bdf;
        let path = Record::path(state, bdf);
        let file = path.display().to_string();
        let record = match Record::read(&path, bdf, boot.as_deref()) {
            Ok(Some(record)) => record,
            // Of a group, those that were bound are meant.
            Ok(None) if !named.contains(&bdf) => continue,
            Ok(None) => {
                let driver = function.driver.clone();
                refusals.push(Refusal {
                    bdf,
                    obstacle: Obstacle::NotRecorded { file, driver },
                });
                continue;
            }
            Err(obstacle) => {
                refusals.push(Refusal { bdf, obstacle });
                continue;
            }
        };
        let before = Standing::of(&function);
        if let Some(driver) = &before.driver
            && !function.is_lent()
            && record.driver.as_ref() != Some(driver)
        {
            let driver = driver.clone();
            refusals.push(Refusal {
                bdf,
                obstacle: Obstacle::Rebound { driver, file },
            });
        }
        if function.is_lent() {
            let users = in_use::lent_to(system, bdf, function.group);
            refusals.extend(users.into_iter().map(|obstacle| Refusal { bdf, obstacle }));
        }
        let wanted = Standing {
            driver: record.driver.clone(),
            driver_override: record.driver_override.clone(),
        };
        let mut steps = before.steps_to(&wanted, system, bdf);
        let record = Box::new(record);
        steps.push(Step::Forget { path, record });
        taken.push(Taken {
            bdf,
            group: function.group,
            from: before.driver.clone(),
            to: wanted.driver.clone(),
            steps,
            wanted,
            before,
        });
    }
    match refusals.is_empty() {
        true => Ok(Plan {
            taken,
            already: Vec::new(),
        }),
        false => Err(refusals),
    }
}

/// The functions that are meant, each once, in order.
fn meant(system: &System, named: &[Bdf], wish: GroupWish) -> (Vec<Present>, Vec<Refusal>) {
    let mut meant: BTreeSet<Bdf> = named.iter().copied().collect();
    if wish == GroupWish::Whole {
        for bdf in named {
            let group = Present::read(system, *bdf).and_then(|function| function.group);
            let members = group.map(|group| members(system, group)).unwrap_or_default();
            let is_bridge =
                |bdf: &Bdf| Present::read(system, *bdf).is_none_or(|function| function.is_bridge());
            meant.extend(members.into_iter().filter(|member| !is_bridge(member)));
        }
    }
    let mut refusals = Vec::new();
    let mut functions = Vec::new();
    for bdf in meant {
        match Present::read(system, bdf) {
            Some(function) => functions.push(function),
            None => refusals.push(Refusal {
                bdf,
                obstacle: Obstacle::NoFunction,
            }),
        }
    }
    (functions, refusals)
}

/// What makes a function one that is not lent, whoever uses it.
fn unfit(system: &System, function: &Present, chosen: &BTreeSet<Bdf>) -> Vec<Obstacle> {
    if function.is_bridge() {
        return vec![Obstacle::Bridge];
    }
    let mut obstacles = Vec::new();
    if function.is_boot_vga {
        obstacles.push(Obstacle::BootDisplay);
    }
    if function.virtual_functions > 0 && !function.is_lent() {
        obstacles.push(Obstacle::VirtualFunctions {
            count: function.virtual_functions,
        });
    }
    match function.group {
        None => obstacles.push(Obstacle::NoGroup),
        Some(group) => {
            let others = members(system, group)
                .into_iter()
                .filter(|bdf| !chosen.contains(bdf));
            let others: Vec<(Bdf, String)> = others
                .filter_map(|bdf| Present::read(system, bdf))
                .filter(Present::keeps_group)
                .map(|other| (other.bdf, other.driver.unwrap_or_default()))
                .collect();
            if !others.is_empty() {
                obstacles.push(Obstacle::GroupShared { group, others });
            }
        }
    }
    obstacles
}

impl Standing {
    pub(super) fn of(function: &Present) -> Self {
        Self {
            driver: function.driver.clone(),
            driver_override: function.driver_override.clone(),
        }
    }

    /// What leads from here to there. The override comes first, so that nothing else takes a function that
    /// has no driver for a moment.
    pub(super) fn steps_to(&self, wanted: &Self, system: &System, bdf: Bdf) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut write = |path: PathBuf, text: String| {
            steps.push(Step::Write {
                path: system.path(path),
                text,
            });
        };
        if self.driver_override != wanted.driver_override {
            // An empty line takes an override away (`driver_set_override` in drivers/base/driver.c).
            let text = wanted.driver_override.clone().unwrap_or_default();
            write(folder(bdf).join("driver_override"), text);
        }
        if self.driver != wanted.driver {
            if let Some(driver) = &self.driver {
                write(drivers(driver).join("unbind"), bdf.to_string());
            }
            // Unlike drivers_probe this says why, where the driver does not take it.
            if let Some(driver) = &wanted.driver {
                write(drivers(driver).join("bind"), bdf.to_string());
            }
        }
        steps
    }
}

fn drivers(name: &str) -> PathBuf {
    Path::new("sys/bus/pci/drivers").join(name)
}

/// The name that the kernel gives this boot.
fn boot(system: &System) -> Option<String> {
    system.text("proc/sys/kernel/random/boot_id")
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep { path, .. } => write!(f, "keep what is there now in {}", path.display()),
            Self::Write { path, text } if text.is_empty() => {
                write!(f, "write an empty line to {}", path.display())
            }
            Self::Write { path, text } => write!(f, "write \"{text}\" to {}", path.display()),
            Self::Forget { path, .. } => write!(f, "remove {}", path.display()),
        }
    }
}
