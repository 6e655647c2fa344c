use crate::rig::{ASK, Ask, Machine, demand, map_type};
use crate::table::TABLE;
use peerdma::plan::{CopyPlan, Demands, Method, Reason};
use peerdma::route::Access;
use peerdma::route::bandwidth::{Estimator, Flow, Training, Way};

#[test]
fn both_crossings_share_the_links_that_they_both_need() {
    // What the two below the switch send each other goes up to the root complex and down again, over the uplink that the source's data comes
    // down too.
    let redirect = r#"acs = { can = "VRCU", on = "RC" }"#;
    let nvme =
        |name: &str| format!(r#"device = {{ kind = "nvme", name = "{name}", cmb = {{ size = "64 MiB" }} }}"#);
    let machine = Machine::of(&format!(
        r#"
        iommu = "off"
        [[bridge]]
        name = "pci0"
        forwarding = "everything"
        [[bridge.port]]
        link = "gen4 x4"
        acs = {{ can = "VRCU", on = "RCU" }}
        [bridge.port.switch]
        name = "switch"
        [[bridge.port.switch.port]]
        link = "gen4 x8"
        {redirect}
        {}
        [[bridge.port.switch.port]]
        link = "gen4 x8"
        {redirect}
        {}
        [[bridge.port]]
        link = "gen4 x8"
        {}
        "#,
        nvme("nvme0"),
        nvme("nvme1"),
        nvme("nvme2"),
    ));
    let via = machine.bdf("nvme1");
    let ask = |via| Ask {
        thirds: &["nvme1"],
        ..demand(Demands {
            via,
            ..Demands::default()
        })
    };
    let direct = machine.plan("nvme2", "nvme0", &ask(None)).unwrap();
    let third = machine.plan("nvme2", "nvme0", &ask(Some(via))).unwrap();
    assert_eq!(direct.method, Method::Store);
    let rate = |plan: &CopyPlan| plan.cost.bytes_per_second().unwrap();
    let hundredths = rate(&third) * 100 / rate(&direct);
    assert!(
        (47..=53).contains(&hundredths),
        "{} and {}",
        direct.cost,
        third.cost
    );
    let why = direct.reason(Method::ThirdParty(via)).unwrap();
    assert!(matches!(why, Reason::Slower { .. }), "{why}");
}

#[test]
fn a_plan_of_one_crossing_costs_what_the_estimate_of_its_flow_says() {
    for (name, method, ..) in TABLE {
        let machine = Machine::shipped(name);
        let plan = machine.plan("nvme0", "nvme1", &ASK).unwrap();
        if method == Method::ViaRam {
            continue;
        }
        let find = |name| machine.topology.find(machine.bdf(name)).unwrap();
        let flow = Flow {
            client: find("nvme0"),
            provider: find("nvme1"),
            access: Access::Write,
            way: Way::of(map_type(&plan).unwrap()).unwrap(),
        };
        let estimate = Estimator::new(&machine.topology)
            .estimate(flow, Training::Now)
            .unwrap();
        let rate = plan.cost.bytes_per_second().unwrap();
        assert!(
            rate.abs_diff(estimate.bytes_per_second) < rate / 1000,
            "{name}: {}",
            plan.cost
        );
    }
}
