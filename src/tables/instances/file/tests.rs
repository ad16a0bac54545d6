use super::*;

const PLATFORMS: &str = "[[platform]]\nkind = \"standard\"\ninstance_types = [\"trn2.48xlarge\"]\n";
const PRODUCTS: &str = include_str!("../../../../data/products.toml");
const GOOD: &str = include_str!("good.toml");
const ASSUMPTIONS: &str = r#"
    [[assumption]]
    id = "trn2-efa-device-id"
    statement = "s"
    source = "s"
    settled_by = "s"
    [[assumption]]
    id = "trn2-numa"
    statement = "s"
    source = "s"
    settled_by = "s"
    [[assumption]]
    id = "trn2-switch-ports"
    statement = "s"
    source = "s"
    settled_by = "s"
"#;
const ALIKE: &str = r#"
    instance_type = "trn2u.48xlarge"
    like = { instance_type = "trn2.48xlarge", grade = "published", text = "published table" }
"#;

fn parse(texts: &[&str]) -> Result<Data, String> {
    let name = |text: &str| {
        let value = text.lines().find_map(|line| line.trim().strip_prefix("instance_type = "));
        format!("{}.toml", value.unwrap().trim_matches('"'))
    };
    let named: Vec<(String, String)> = texts.iter().map(|text| (name(text), (*text).to_owned())).collect();
    Data::read(PRODUCTS, PLATFORMS, ASSUMPTIONS, &named)
}

/// Replaces the first `from` in the good file, and returns the error of reading the changed file.
fn refusal(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "the good file has no such line: {from}");
    refused(&[&GOOD.replacen(from, to, 1)])
}

fn refused(texts: &[&str]) -> String {
    match parse(texts) {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error,
    }
}

#[test]
fn good_file_is_read() {
    assert_eq!(parse(&[GOOD]).unwrap().instances["trn2.48xlarge"].neuron.len(), 16);
}

#[test]
fn file_of_another_name_is_refused() {
    let error =
        Data::read(PRODUCTS, PLATFORMS, ASSUMPTIONS, &[("trn2.toml".to_owned(), GOOD.to_owned())]).err().unwrap();
    assert!(error.contains("trn2.toml: its instance_type is \"trn2.48xlarge\""), "{error}");
}

#[test]
fn bad_address_is_refused() {
    assert!(refusal("0000:cc:00.0", "0000:cc:00.9").contains("not a PCI address"));
}

#[test]
fn same_address_twice_is_refused() {
    assert!(refusal("\"0000:cc:00.0\"", "\"0000:b5:00.0\"").contains("0000:b5:00.0 is listed twice"));
}

#[test]
fn pairing_with_an_absent_efa_is_refused() {
    assert!(refusal("efa = \"0000:c9:00.0\"", "efa = \"0000:c8:00.0\"").contains("not an [[efa]] row"));
}

#[test]
fn absent_numa_node_is_refused() {
    assert!(refusal("numa = 1", "numa = 7").contains("NUMA node 7"));
}

#[test]
fn a_device_as_a_bridge_is_refused() {
    let bridges = "\"0000:45:00.0\", \"0000:46:01.7\"]";
    let error = refusal(bridges, &bridges.replace("0000:46:01.7", "0000:56:00.0"));
    assert!(error.contains("0000:57:00.0 is behind 0000:56:00.0, which is a device"), "{error}");
}

#[test]
fn one_sided_link_is_refused() {
    assert!(refusal("links = [12, 1, 3, 4]", "links = [12, 1, 3, 5]").contains("does not link back"));
}

#[test]
fn overlapping_cpus_are_refused() {
    assert!(refusal("0-47,96-143", "0-48,96-143").contains("CPU 48 is listed twice"));
}

#[test]
fn rows_out_of_order_are_refused() {
    assert!(refusal("index = 0", "index = 3").contains("device index 3 is listed twice"));
}

#[test]
fn unknown_field_is_refused() {
    assert!(refusal("index = 0", "index = 0\nspeed = 3").contains("unknown field"));
}

#[test]
fn fact_without_source_is_refused() {
    assert!(refusal("pairing = {", "path2 = {").contains("sources.pairing is missing"));
    assert!(
        refusal("[sources]", "[sources]\ngpu = { grade = \"published\", text = \"t\" }")
            .contains("sources.gpu has no facts")
    );
    assert!(
        refusal("[sources]", "[sources]\nmood = { grade = \"published\", text = \"t\" }")
            .contains("this kind of fact does not exist")
    );
    assert!(refusal("grade = \"published\"", "grade = \"sure\"").contains("unknown variant `sure`"));
}

#[test]
fn bridges_without_source_are_refused() {
    let path = GOOD.lines().find(|line| line.starts_with("path = ")).unwrap();
    assert!(refusal(path, "").contains("has bridges and sources.path is missing"));
}

#[test]
fn id_without_rows_is_refused() {
    let gpu = "gpu_device_id = 0x2335\nefa_device_id = 0xefa2";
    assert!(refusal("efa_device_id = 0xefa2", gpu).contains("sources.gpu is missing"));
    let source = "[sources]\ngpu = { grade = \"published\", text = \"t\" }";
    let error = refused(&[&GOOD.replacen("efa_device_id = 0xefa2", gpu, 1).replacen("[sources]", source, 1)]);
    assert!(error.contains("gpu_device_id and its rows belong together"), "{error}");
}

#[test]
fn inferred_fact_without_assumption_is_refused() {
    assert!(
        refusal(", assumptions = [\"trn2-switch-ports\"]", "")
            .contains("sources.path is Inferred and names no assumption")
    );
    assert!(refusal("[\"trn2-switch-ports\"]", "[\"mine\"]").contains("assumptions.toml has no assumption \"mine\""));
}

#[test]
fn assumption_that_no_table_uses_is_refused() {
    let more = ASSUMPTIONS.replace("trn2-switch-ports\"", "idle\"");
    let file = GOOD.replace("trn2-switch-ports", "trn2-efa-device-id");
    let error = Data::read(PRODUCTS, PLATFORMS, &more, &[("trn2.48xlarge.toml".to_owned(), file)]).err().unwrap();
    assert!(
        error.starts_with("assumptions.toml: the assumption \"idle\" has no test: no instance type uses it"),
        "{error}"
    );
}

#[test]
fn assumption_has_one_test_of_a_known_name() {
    let with = |more: &str| {
        let assumptions = ASSUMPTIONS.replacen("settled_by = \"s\"", &format!("settled_by = \"s\"\n{more}"), 1);
        Data::read(PRODUCTS, PLATFORMS, &assumptions, &[("trn2.48xlarge.toml".to_owned(), GOOD.to_owned())])
            .err()
            .unwrap()
    };
    let several = "the assumption \"trn2-efa-device-id\" has several tests";
    assert!(with("by_hand = true").contains(several) && with("check = \"local-cpus\"").contains(several));
    assert!(with("check = \"look-closely\"").contains("unknown variant `look-closely`"));

    let other = "[[assumption]]\nid = \"other\"\nstatement = \"s\"\nsource = \"s\"\nsettled_by = \"s\"\n";
    for test in ["by_hand = true", "check = \"local-cpus\""] {
        let assumptions = format!("{ASSUMPTIONS}{other}{test}\n");
        let read = Data::read(PRODUCTS, PLATFORMS, &assumptions, &[("trn2.48xlarge.toml".to_owned(), GOOD.to_owned())]);
        assert!(read.is_ok(), "{test}");
    }
}

#[test]
fn path_pairing_and_links_must_not_be_invented() {
    let invented = |fact: &str| {
        let line = GOOD.lines().find(|line| line.starts_with(&format!("{fact} = {{"))).unwrap();
        let source =
            format!("{fact} = {{ grade = \"invented\", text = \"t\", assumptions = [\"trn2-switch-ports\"] }}");
        GOOD.replacen(line, &source, 1)
    };
    for fact in ["path", "pairing", "links"] {
        assert!(refused(&[&invented(fact)]).contains("facts of this kind must not be invented"), "{fact}");
    }
    let beside = "address = \"0000:cc:00.0\"";
    assert!(GOOD.contains(beside));
    let error = refused(&[&invented("neuron").replacen(beside, "address = \"0000:b5:01.0\"", 1)]);
    assert!(error.contains("0000:b5:01.0 is invented and shares its bus with another function"), "{error}");
}

#[test]
fn rows_copied_from_a_like_type_are_at_most_as_reliable_as_the_likeness() {
    let inferred = ALIKE.replace(
        "published\", text = \"published table\"",
        "inferred\", text = \"published table\", assumptions = [\"trn2-switch-ports\"]",
    );
    for (text, grade) in [(ALIKE, Grade::Published), (&inferred, Grade::Inferred)] {
        // The grade `captured` is better than both grades of the likeness.
        let captured = GOOD.replacen("neuron = { grade = \"published\"", "neuron = { grade = \"captured\"", 1);
        let data = parse(&[text, &captured]).unwrap();
        let [original, alike] = ["trn2.48xlarge", "trn2u.48xlarge"].map(|name| &data.instances[name]);
        assert_eq!(alike.neuron.len(), 16);
        assert_eq!(alike.efa_device_id, original.efa_device_id);
        assert_eq!(original.sources["neuron"].grade, Grade::Captured);
        assert_eq!(alike.sources["neuron"].grade, grade);
        assert!(alike.sources["neuron"].text.starts_with("as trn2.48xlarge (published table): neuron-ls"));
        assert!(alike.sources["path"].assumptions.contains(&"trn2-switch-ports".to_owned()));
        assert_eq!(data.users("trn2-efa-device-id").collect::<Vec<_>>(), ["trn2.48xlarge", "trn2u.48xlarge"]);
    }
}

#[test]
fn rows_in_a_file_that_is_like_another_need_a_source() {
    let rows = "[[numa]]\nnode = 0\ncpus = \"0-3\"";
    assert!(refused(&[&format!("{ALIKE}{rows}"), GOOD]).contains("rows for cpus and lacks sources.cpus"));
}

#[test]
fn like_one_that_is_itself_like_another_is_refused() {
    let chained = ALIKE
        .replace("trn2.48", "trn2u.48")
        .replace("instance_type = \"trn2u.48xlarge\"\n", "instance_type = \"trn9.48xlarge\"\n");
    assert!(refused(&[&chained, ALIKE, GOOD]).contains("\"trn2u.48xlarge\" must be a type whose file has all rows"));
}
