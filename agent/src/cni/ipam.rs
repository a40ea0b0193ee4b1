//! Delegation to an IPAM plugin: which version to speak, what to write to its standard input, what its answer means.
//!
//! The plugin is asked in the newest version that it supports, at most the caller's (Debian's host-local knows no 1.1.0),
//! and its result is read whatever version it comes in. Running the plugin is the shim's work, or the agent's when it pays a
//! debt; here are only bytes.

use serde::Deserialize;
use serde_json::Value;

use super::args::{MAX_ADDRESSES, is_unicast};
use super::error::{CniError, Code};
use super::fields::shortened;
use super::{CniResult, Head, Version};

/// What became of one run of a plugin.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// File name of the plugin.
    pub plugin: &'a str,
    /// Exit status; as a shell says it when a signal ended the plugin.
    pub exit: i32,
    pub stdout: &'a [u8],
    pub stderr: &'a [u8],
    /// Why the plugin did not run to its end; empty when it did.
    pub failure: &'a str,
}

/// The version in which to speak to a plugin that answered VERSION with `run`.
///
/// A plugin that does not answer VERSION, or not in JSON, is asked in the caller's version: it will say itself what it
/// does not like. A plugin that cannot be run at all is an error at once.
pub fn choose_version(run: Run<'_>, caller: Version) -> Result<Version, CniError> {
    if !run.failure.is_empty() {
        return Err(did_not_run(run));
    }
    let Ok(Supported { supported_versions }) = serde_json::from_slice(run.stdout) else { return Ok(caller) };
    let newest = supported_versions
        .iter()
        .filter_map(|name| Version::from_name(name))
        .filter(|version| *version <= caller)
        .max();
    newest.ok_or_else(|| {
        let plugin = run.plugin;
        let spoken = shortened(&supported_versions.join(", "));
        let msg = format!("IPAM plugin {plugin} speaks none of our versions up to {caller}: it has {spoken}");
        CniError::new(Code::INCOMPATIBLE_VERSION, msg)
    })
}

/// Standard input for the plugin: the network configuration as it came, in `version`. `previous` replaces
/// `prevResult` where there is one, since that must be of the same version.
pub fn stdin(head: &Head, version: Version, previous: Option<&CniResult>) -> Vec<u8> {
    let mut config = head.raw().clone();
    config.insert("cniVersion".to_owned(), version.as_str().into());
    if let Some(previous) = previous {
        config.insert("prevResult".to_owned(), previous.to_value(version));
    }
    Value::Object(config).to_string().into_bytes()
}

/// The outcome of ADD: a result with at least one address, or the plugin's own error.
pub fn allocated(run: Run<'_>) -> Result<CniResult, CniError> {
    succeeded(run)?;
    let plugin = run.plugin;
    let result = CniResult::from_json(run.stdout).map_err(|error| {
        let msg = format!("the result of IPAM plugin {plugin} cannot be read");
        CniError::new(Code::UNDECODABLE, msg).because(error.to_string())
    })?;
    if result.ips.is_empty() {
        return Err(CniError::config(format!("IPAM plugin {plugin} gave no address")));
    }
    if result.ips.len() > MAX_ADDRESSES {
        let given = result.ips.len();
        let msg = format!("IPAM plugin {plugin} gave {given} addresses: expected at most {MAX_ADDRESSES}");
        return Err(CniError::config(msg));
    }
    if let Some(ip) = result.ips.iter().find(|ip| !is_unicast(ip.address.addr())) {
        let msg = format!("IPAM plugin {plugin} gave {}: expected a unicast address", ip.address);
        return Err(CniError::config(msg));
    }
    Ok(result)
}

/// The outcome of DEL, CHECK, GC and STATUS: success, or the plugin's own error, passed on as it is.
pub fn succeeded(run: Run<'_>) -> Result<(), CniError> {
    if !run.failure.is_empty() {
        return Err(did_not_run(run));
    }
    if run.exit == 0 {
        return Ok(());
    }
    Err(CniError::from_json(run.stdout).unwrap_or_else(|| {
        let msg = format!("IPAM plugin {} ended with status {} and no CNI error", run.plugin, run.exit);
        CniError::new(Code::IO_FAILURE, msg).because(last_lines(run.stderr))
    }))
}

/// Whether the plugin ran to its end and said no in its own words: an ADD that ended so gave nothing.
pub fn refused(run: Run<'_>) -> bool {
    run.failure.is_empty() && run.exit != 0 && CniError::from_json(run.stdout).is_some()
}

fn did_not_run(run: Run<'_>) -> CniError {
    CniError::new(Code::IO_FAILURE, format!("IPAM plugin {} could not be run", run.plugin))
        .because(run.failure)
}

/// The end of a plugin's standard error, where the reason stands.
fn last_lines(stderr: &[u8]) -> String {
    let start = stderr.len().saturating_sub(QUOTED_STDERR);
    String::from_utf8_lossy(stderr.get(start..).unwrap_or_default()).trim().to_owned()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Supported {
    supported_versions: Vec<String>,
}

/// Bytes of standard error that an error repeats: a few lines.
const QUOTED_STDERR: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn run<'a>(exit: i32, stdout: &'a str, stderr: &'a str) -> Run<'a> {
        Run { plugin: "host-local", exit, stdout: stdout.as_bytes(), stderr: stderr.as_bytes(), failure: "" }
    }

    fn missing() -> Run<'static> {
        Run { failure: "no such plugin", ..run(127, "", "") }
    }

    #[test]
    fn the_newest_common_version_is_spoken() {
        let debian =
            r#"{"cniVersion":"1.0.0","supportedVersions":["0.1.0","0.3.0","0.3.1","0.4.0","1.0.0"]}"#;
        assert_eq!(choose_version(run(0, debian, ""), Version::V1_1_0), Ok(Version::V1_0_0));
        assert_eq!(choose_version(run(0, debian, ""), Version::V0_3_1), Ok(Version::V0_3_1));
    }

    #[test]
    fn a_plugin_without_an_answer_to_version_is_asked_in_the_callers() {
        assert_eq!(choose_version(run(1, "usage", ""), Version::V1_0_0), Ok(Version::V1_0_0));
    }

    #[test]
    fn a_plugin_without_a_common_version_is_refused() {
        let error =
            choose_version(run(0, r#"{"supportedVersions":["0.2.0"]}"#, ""), Version::V1_0_0).unwrap_err();
        assert_eq!(error.code, Code::INCOMPATIBLE_VERSION);
        assert_eq!(error.msg, "IPAM plugin host-local speaks none of our versions up to 1.0.0: it has 0.2.0");
        assert_eq!(choose_version(missing(), Version::V1_0_0).unwrap_err().code, Code::IO_FAILURE);
    }

    #[test]
    fn the_plugin_gets_the_configuration_in_its_version() {
        let config =
            br#"{"cniVersion":"1.1.0","name":"n","type":"ovs","x/y":1,"ipam":{"type":"host-local","z":[2]}}"#;
        let head = Head::parse(config).unwrap();
        let input: Value = serde_json::from_slice(&stdin(&head, Version::V0_4_0, None)).unwrap();
        let mut expected: Value = serde_json::from_slice(config).unwrap();
        expected["cniVersion"] = "0.4.0".into();
        assert_eq!(input, expected);
        let input: Value =
            serde_json::from_slice(&stdin(&head, Version::V0_4_0, Some(&CniResult::default()))).unwrap();
        assert_eq!(input["prevResult"]["cniVersion"], "0.4.0");
    }

    #[test]
    fn an_allocation_needs_an_address_that_a_station_can_have() {
        let result =
            allocated(run(0, r#"{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/24"}]}"#, "")).unwrap();
        assert_eq!(result.ips.len(), 1);
        let error = allocated(run(0, r#"{"cniVersion":"1.0.0"}"#, "")).unwrap_err();
        assert_eq!((error.code, error.msg.as_str()), (Code(7), "IPAM plugin host-local gave no address"));
        for address in ["127.0.0.1/8", "0.0.0.0/0", "224.0.0.1/24", "::1/128"] {
            let given = format!(r#"{{"cniVersion":"1.0.0","ips":[{{"address":"{address}"}}]}}"#);
            let error = allocated(run(0, &given, "")).unwrap_err();
            let msg = format!("IPAM plugin host-local gave {address}: expected a unicast address");
            assert_eq!((error.code, error.msg), (Code(7), msg));
        }
        let many: Vec<_> = (1..=33).map(|n| format!(r#"{{"address":"10.0.0.{n}/24"}}"#)).collect();
        let given = format!(r#"{{"cniVersion":"1.0.0","ips":[{}]}}"#, many.join(","));
        let error = allocated(run(0, &given, "")).unwrap_err();
        assert_eq!(error.msg, "IPAM plugin host-local gave 33 addresses: expected at most 32");
        let error = allocated(run(0, "oops", "")).unwrap_err();
        assert_eq!(error.msg, "the result of IPAM plugin host-local cannot be read");
        assert_eq!(error.code, Code::UNDECODABLE);
    }

    #[test]
    fn errors_of_the_plugin_are_passed_on() {
        let full = r#"{"code":999,"msg":"no IP addresses available","details":"range set 1"}"#;
        let error = allocated(run(1, full, "")).unwrap_err();
        assert_eq!(error, CniError::new(Code(999), "no IP addresses available").because("range set 1"));
        assert!(refused(run(1, full, "")));
        for unclear in [run(2, "", "panic: nil\n"), run(0, full, ""), missing()] {
            assert!(!refused(unclear), "{unclear:?}");
        }
    }

    #[test]
    fn a_plugin_that_dies_without_words_is_quoted() {
        let error = succeeded(run(2, "", "panic: nil\n")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "IPAM plugin host-local ended with status 2 and no CNI error: panic: nil"
        );
        let error = succeeded(missing()).unwrap_err();
        assert_eq!(error.to_string(), "IPAM plugin host-local could not be run: no such plugin");
        assert_eq!(succeeded(run(0, "", "chatter")), Ok(()));
    }
}
