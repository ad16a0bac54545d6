//! The configuration of claims.

use nearfab_dra::model::configuration::Configuration;
use serde_json::{Value, json};

fn neuron_config(version: &str, fields: &Value) -> Value {
    let mut parameters = json!({"apiVersion": version, "kind": "NeuronConfig"});
    parameters.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    parameters
}

#[test]
fn each_driver_takes_its_own_neuron_config() {
    for (driver, version) in [("nearfab.dev", "nearfab.dev/v1"), ("neuron.aws.com", "neuron.aws.com/v1")] {
        for size in [1, 2] {
            let parameters = neuron_config(version, &json!({"logicalNeuronCore": size}));
            let expected = Configuration::Neuron { logical_neuron_core: size };
            assert_eq!(Configuration::parse(driver, &parameters), Ok(expected));
        }
    }
}

#[test]
fn a_refusal_says_what_is_wrong() {
    let refused = |driver: &str, parameters: &Value| Configuration::parse(driver, parameters).unwrap_err().to_string();
    let own = |fields: Value| neuron_config("nearfab.dev/v1", &fields);
    for (driver, parameters, reason) in [
        ("nearfab.dev", own(json!({"logicalNeuronCores": 1})), "unknown field `logicalNeuronCores`"),
        ("nearfab.dev", own(json!({})), "missing field `logicalNeuronCore`"),
        ("nearfab.dev", own(json!({"logicalNeuronCore": 3})), "logicalNeuronCore is 3, and 1 or 2 was expected"),
        ("nearfab.dev", own(json!({"logicalNeuronCore": "1"})), "invalid type: string \"1\""),
        ("nearfab.dev", json!({"logicalNeuronCore": 1}), "missing field `apiVersion`"),
        (
            "nearfab.dev",
            neuron_config("neuron.aws.com/v1", &json!({"logicalNeuronCore": 1})),
            "nearfab.dev takes nearfab.dev/v1 NeuronConfig",
        ),
        (
            "neuron.aws.com",
            json!({"apiVersion": "neuron.aws.com/v1", "kind": "UltraServerConfig", "ultraserverMode": 4}),
            "UltraServerConfig is not supported",
        ),
        ("dra.net", own(json!({"logicalNeuronCore": 1})), "dra.net takes no configuration"),
    ] {
        let message = refused(driver, &parameters);
        assert!(message.contains(reason), "{message}");
    }
}
