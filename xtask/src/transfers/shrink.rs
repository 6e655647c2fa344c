//! Makes a story smaller as long as it breaks the same promise.

use super::act::act;
use super::broken::Broken;
use super::story::{Batch, Ending, Story};
use super::tally::Tally;
use super::world::World;
use peerdma::dma::{Constraints, Direction};

/// How often a story is tried.
const MOST_TRIES: usize = 400;

/// Tells a story on a fresh machine.
pub(super) fn tell(story: &Story) -> Result<Tally, Broken> {
    match World::new(story.seed) {
        Ok(Some(mut world)) => act(story, &mut world),
        Ok(None) => Ok(Tally::default()),
        Err(seen) => Err(Broken {
            promise: "there is a machine",
            seen,
        }),
    }
}

/// A smaller story that breaks the promise as well, and what is seen then.
pub(super) fn shrink(mut story: Story, mut broken: Broken) -> (Story, Broken) {
    let mut tries = 0;
    'again: loop {
        for smaller in smaller(&story) {
            tries += 1;
            if tries > MOST_TRIES {
                return (story, broken);
            }
            if let Err(other) = tell(&smaller)
                && other.promise == broken.promise
            {
                (story, broken) = (smaller, other);
                continue 'again;
            }
        }
        return (story, broken);
    }
}

/// Each way to make it smaller by one step, the large steps first.
fn smaller(story: &Story) -> Vec<Story> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Story)| {
        let mut smaller = story.clone();
        change(&mut smaller);
        all.push(smaller);
    };
    if !story.registered.is_empty() {
        with(&|story| story.registered.clear());
    }
    for batch in 0..story.batches.len() {
        with(&|story| drop(story.batches.remove(batch)));
    }
    for (batch, Batch { requests, ending }) in story.batches.iter().enumerate() {
        let of = |story: &mut Story, change: &dyn Fn(&mut Batch)| {
            if let Some(batch) = story.batches.get_mut(batch) {
                change(batch);
            }
        };
        if *ending != Ending::Unmap {
            with(&|story| of(story, &|batch| batch.ending = Ending::Unmap));
        }
        for (request, was) in requests.iter().enumerate() {
            with(&|story| of(story, &|batch| drop(batch.requests.remove(request))));
            if was.constraints != Constraints::NONE {
                with(&|story| {
                    of(story, &|batch| {
                        batch.requests[request].constraints = Constraints::NONE;
                    });
                });
            }
            if was.direction == Direction::Both {
                for direction in [Direction::DeviceReads, Direction::DeviceWrites] {
                    with(&|story| of(story, &|batch| batch.requests[request].direction = direction));
                }
            }
            for (piece, part) in was.pieces.iter().enumerate() {
                with(&|story| {
                    of(story, &|batch| {
                        batch.requests[request].pieces.remove(piece);
                    });
                });
                if part.len_bytes > 1 {
                    with(&|story| {
                        of(story, &|batch| {
                            batch.requests[request].pieces[piece].len_bytes /= 2;
                        });
                    });
                }
            }
        }
    }
    for region in 0..story.registered.len() {
        with(&|story| {
            story.registered.remove(region);
        });
    }
    all
}
