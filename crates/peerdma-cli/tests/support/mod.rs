//! The binary under test, and small machines to give it.

#![allow(dead_code, reason = "every test file takes what it needs")]
#![allow(unreachable_pub, reason = "every test file is a crate of its own")]

use peerdma::fact::Fact;
use peerdma::pci::{Acs, AcsFlags, ClassCode, Express, Id, PortType};
use peerdma::snapshot::{Function, Host, Snapshot, Warnings};
use peerdma_linux::json;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A run of the binary with nothing on its standard input.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peerdma"));
    command.args(arguments).env_remove("COLUMNS").stdin(Stdio::null());
    command
}

pub fn peerdma(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the binary under test starts")
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("output is UTF-8")
}

/// Exit code, standard output, standard error.
pub fn ended(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = peerdma(arguments);
    (
        output.status.code(),
        text(&output.stdout).to_owned(),
        text(&output.stderr).to_owned(),
    )
}

/// The class of ports.
const PORT: u32 = 0x06_04_00;

/// A function below `above`, or on a root bus, with an ACS control register of these bits.
pub fn function(at: &str, above: Option<&str>, class: u32, acs: u16) -> Function {
    let mut function = Function::new(at.parse().expect("an address"));
    function.upstream = Fact::Known(above.map(|above| above.parse().expect("an address")));
    function.config.id = Fact::Known(Id {
        vendor: 0x8086,
        device: 0x1234,
    });
    function.config.class = Fact::Known(ClassCode::new(class));
    if class == PORT {
        function.config.express = Fact::Known(Some(Express {
            port_type: PortType::DOWNSTREAM,
            link: Fact::NOT_IN_SOURCE,
            port_number: Fact::NOT_IN_SOURCE,
            payload: Fact::NOT_IN_SOURCE,
        }));
    }
    function.config.acs = Fact::Known(Some(Acs::without_vector(
        AcsFlags::from_register(0x7f),
        AcsFlags::from_register(acs),
    )));
    function
}

/// A host bridge, and a switch with an SSD at 03:00.0 and a GPU at 04:00.0, each below a port of its own
/// with this ACS control register.
pub fn switch(ssd_port: u16, gpu_port: u16) -> Vec<Function> {
    let mut functions = vec![
        function("00:00.0", None, 0x06_00_00, 0),
        function("00:01.0", None, PORT, 0),
        function("01:00.0", Some("00:01.0"), PORT, 0),
        function("02:00.0", Some("01:00.0"), PORT, ssd_port),
        function("02:01.0", Some("01:00.0"), PORT, gpu_port),
        function("03:00.0", Some("02:00.0"), 0x01_08_02, 0),
        function("04:00.0", Some("02:01.0"), 0x03_00_00, 0),
    ];
    functions[5].os.names = vec!["nvme0".into()];
    functions
}

/// A file of its own, gone at the end of the test.
pub struct File {
    /// Holds the file; removed with it.
    _folder: TempDir,
    name: String,
}

impl File {
    pub fn new(name: &str, content: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("it is written");
        Self {
            _folder: folder,
            name: path.to_str().expect("a plain path").to_owned(),
        }
    }

    /// These functions on a machine whose processor is not AMD's, as a snapshot.
    pub fn machine(functions: Vec<Function>) -> Self {
        let host = Host {
            cpu: Fact::Known("GenuineIntel:6".parse().expect("a processor")),
            ..Host::default()
        };
        Self::machine_of(host, functions)
    }

    pub fn machine_of(host: Host, functions: Vec<Function>) -> Self {
        let snapshot = Snapshot::new(host, functions, &mut Warnings::default());
        let mut content = Vec::new();
        json::write(&snapshot, &mut content).expect("memory takes every write");
        Self::new("machine.json", content)
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}
