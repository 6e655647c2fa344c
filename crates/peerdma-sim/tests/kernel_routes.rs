//! Routes of the kernel against the two judges that they come from, on random machines.

use peerdma::addr::Bdf;
use peerdma::dma::{KernelRoutes, PeerRoute, Refused, Routes};
use peerdma::route::spec::{Form, Outcome, Question};
use peerdma::route::{Access, MapType, TlpClass, linux, spec};
use peerdma::snapshot::Warnings;
use peerdma::topology::Topology;
use peerdma_sim::firmware;
use peerdma_sim::random::random_machine;

#[test]
fn what_the_kernel_refuses_or_surely_fails_is_refused_and_all_else_is_reached_as_the_kernel_says() {
    let mut counts = [0_usize; 4];
    for seed in 0..60 {
        let Ok(blueprint) = firmware::boot(&random_machine(seed)) else {
            continue;
        };
        let topology = Topology::new(blueprint.snapshot.clone(), &mut Warnings::default());
        for release in ["6.1", "7.2.12"] {
            let kernel = linux::Kernel::Release(release.parse().unwrap());
            check(&topology, kernel, &mut counts);
        }
    }
    let [reached, refused, stopped, undecided] = counts;
    assert!(
        reached > 100 && refused > 100 && stopped > 10,
        "{counts:?} {undecided}"
    );
}

fn check(topology: &Topology, kernel: linux::Kernel, counts: &mut [usize; 4]) {
    let kernel = linux::Judge::new(topology, kernel);
    let hardware = spec::Judge::new(topology);
    let routes = KernelRoutes::new(&kernel, &hardware);
    for client in topology.nodes() {
        for provider in topology.nodes().filter(|provider| *provider != client) {
            let (of, by) = (topology.function(provider).bdf, topology.function(client).bdf);
            for access in Access::ALL {
                let class = TlpClass::Strict;
                let route = routes.route(by, of, 0, access, class);
                let answer = kernel.verdict(provider, client).answer(access, class);
                let fails = |form| {
                    let question = Question {
                        provider,
                        client,
                        bar: Some(0),
                        access,
                        class,
                        form,
                    };
                    matches!(hardware.fate(question).outcome, Outcome::Refused { .. })
                };
                match route {
                    PeerRoute::Reached { map_type, form } => {
                        assert!(answer.surely_reached() && form == Form::BusAddress);
                        assert!(answer.allows(map_type) && map_type != MapType::NotSupported);
                        let surely_fails = match answer.map_type() {
                            Some(MapType::BusAddr) => fails(Form::BusAddress),
                            Some(_) => fails(Form::HostAddress),
                            None => fails(Form::BusAddress) && fails(Form::HostAddress),
                        };
                        assert!(!surely_fails);
                        counts[0] += 1;
                    }
                    PeerRoute::Refused(Refused::NotSupported(at)) => {
                        assert!(at == of && answer.surely_refused());
                        counts[1] += 1;
                    }
                    PeerRoute::Refused(Refused::Stopped { .. }) => {
                        assert!(answer.surely_reached());
                        assert!(fails(Form::BusAddress) || fails(Form::HostAddress));
                        counts[2] += 1;
                    }
                    PeerRoute::Refused(Refused::Undecided(_)) => {
                        assert!(!answer.surely_reached() && !answer.surely_refused());
                        counts[3] += 1;
                    }
                    PeerRoute::Refused(other) => panic!("{other}"),
                }
            }
            assert_eq!(routes.ram(by, Access::Read, TlpClass::Strict), Ok(()));
        }
    }
    let nobody = Bdf::from_devfn(u32::MAX, 0xff, 0xff);
    for provider in topology.nodes().take(1) {
        let of = topology.function(provider).bdf;
        let route = routes.route(nobody, of, 0, Access::Read, TlpClass::Strict);
        assert_eq!(route, PeerRoute::Refused(Refused::NoSuchFunction(nobody)));
        assert_eq!(routes.ram(nobody, Access::Read, TlpClass::Strict), Ok(()));
    }
}
