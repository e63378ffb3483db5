// Real processes: a run over encrypted sockets finishes, survives kill -9 of either side, and refuses strangers in a sentence.
#include "backends/formats/file_hash.h"
#include "backends/formats/gguf.h"
#include "tests/end_to_end/fleet.h"
#include "tests/json_schema.h"

using namespace quantfleet;
using namespace quantfleet::test;

namespace {

// Somebody has measured something, and much is left.
bool is_under_way(const Fleet& fleet) {
  const auto run = fleet.results();
  return run && run->run.status == "running" && !run->rows.empty();
}

void check_schema(const std::string& name, const nlohmann::json& value) {
  const auto violations = schema_violations(name, value);
  CAPTURE(name, violations);
  CHECK(violations.empty());
}

}  // namespace

TEST_CASE("a coordinator and two agents finish a run, every item once", "[fleet]") {
  Fleet fleet("finish");
  fleet.start_coordinator();
  fleet.start_agent("one");
  fleet.start_agent("two");
  Process submit = fleet.submit(2);
  const int code = submit.wait();
  INFO(fleet.logs());
  CHECK(code == 0);
  const auto run = fleet.results();
  REQUIRE(run);
  check_complete(*run);
  CHECK(run->devices.size() == 2);
  Process again("quantfleet", {"submit", fleet.root / "plan.yaml", "--json", "--state", fleet.root}, fleet.root / "again.json");
  REQUIRE(again.wait() == 0);
  INFO(again.output());
  const std::string said = again.output();  // stderr first: that the same was asked before
  const auto answer = nlohmann::json::parse(said.substr(std::min(said.size(), said.find('{'))));
  CHECK(test::schema_violations("submit", answer).empty());
  CHECK(answer["same_plan_as"].size() == 1);
  for (const LeaseRow& lease : run->leases) {
    CHECK(lease.outcome == "done");
    CHECK(lease.provenance.ran_alone == (lease.unit.value.find("/timing/") != std::string::npos));
  }
}

TEST_CASE("imported and hand-made suites, and a model's adapter, travel with the run, by their hash, to an agent that never saw them", "[fleet]") {
  Fleet fleet("imported");
  const fs::path suite = fleet.root / "suites/letters";
  fs::create_directories(suite);
  std::ofstream(suite / "task.yaml") << "name: letters\nversion: \"1\"\narea: knowledge\nkind: loglikelihood\ndescription: d\nsource: s\nlicence: MIT\n"
                                        "items: imported.jsonl\nimport: {items: {files: [x.jsonl], id: \"{{ id }}\"}, count: 2}\nprompt: \"{{ q }}\"\n"
                                        "choices: [\"a\", \"b\"]\ntarget_index: \"{{ answer }}\"\nscorers: [multiple_choice]\n";
  std::ofstream items(suite / "imported.jsonl");
  for (int i = 0; i < 20; ++i) items << fmt::format("{{\"id\":\"{}\",\"q\":\"question {}\",\"answer\":{}}}\n", i, i, i % 2);
  items.close();
  const fs::path made = fleet.root / "suites/capitals";  // as docs/adding-a-task.md says
  fs::create_directories(made);
  std::ofstream(made / "task.yaml") << "name: capitals\nversion: \"1\"\narea: knowledge\nkind: loglikelihood\ndescription: d\nsource: s\nlicence: MIT\n"
                                       "prompt: \"The capital of {{ country }} is\"\nchoices: cities\ntarget_index: \"{{ gold }}\"\n"
                                       "fewshot: {count: 1, items: shots.jsonl}\nscorers: [multiple_choice]\n";
  std::ofstream(made / "items.jsonl") << "{\"id\": \"c-1\", \"country\": \"France\", \"cities\": [\"Paris\", \"Rome\"], \"gold\": 0}\n"
                                         "{\"id\": \"c-2\", \"country\": \"Norway\", \"cities\": [\"Bern\", \"Oslo\"], \"gold\": 1}\n";
  std::ofstream(made / "shots.jsonl") << "{\"id\": \"s-1\", \"country\": \"Italy\", \"cities\": [\"Rome\", \"Oslo\"], \"gold\": 0}\n";
  RandomModel shape;
  shape.width = 128, shape.layers = 2, shape.feed_forward = 256, shape.context = 256;
  REQUIRE(write_random_model(fleet.root / "tiny.gguf", shape).has_value());
  const std::vector<std::pair<std::string, GgufValue>> adapter = {{"general.type", gguf_string("adapter")}, {"general.architecture", gguf_string("llama")},
                                                                  {"adapter.type", gguf_string("lora")}};
  auto writer = GgufWriter::create(fleet.root / "adapter.gguf", adapter, {{"blk.0.attn_q.weight.lora_a", find_format("F32"), {128, 2}},
                                                                          {"blk.0.attn_q.weight.lora_b", find_format("F32"), {2, 128}}}).value();
  const std::vector<float> values(256, 0.25f);
  for (int matrix = 0; matrix < 2; ++matrix) REQUIRE(writer->write(std::as_bytes(std::span(values))).has_value());
  REQUIRE(writer->finish().has_value());
  const std::string lora = sha256_of_file(fleet.root / "adapter.gguf").value();
  std::ofstream(fleet.root / "plan.yaml") << "name: data\nmodels: [{name: tiny, path: tiny.gguf, lora: {path: adapter.gguf, scale: 0.5}}]\nformats: [as-is]\nsuites: [letters, capitals]\n"
                                             "accuracy: once\ntiming: off\nlimits: {unit_items: 8}\n";
  fleet.start_coordinator();
  fleet.start_agent("one");
  const auto submit = [&](const fs::path& suites, const std::string& log) {
    Process process("quantfleet", {"submit", fleet.root / "plan.yaml", "--wait", "--suites", suites, "--state", fleet.root}, fleet.root / log);
    return process.wait();
  };
  CHECK(submit(fleet.root / "elsewhere", "unknown.log") == 2);
  CHECK(contents(fleet.root / "unknown.log").find("no agent has a suite called \"letters\"") != std::string::npos);
  const int code = submit(fleet.root / "suites", "submit.log");
  INFO(fleet.logs());
  REQUIRE(code == 0);
  const auto run = fleet.results();
  REQUIRE(run);
  check_complete(*run);
  CHECK(run->rows.size() == 22);
  const auto plan = nlohmann::json::parse(run->run.plan_json);
  CHECK(plan["suites"][0]["info"]["items"] == 20);
  CHECK(plan["suites"][1]["info"]["items"] == 2);
  for (const LeaseRow& lease : run->leases) {
    const auto& own = plan["suites"][lease.provenance.suite == "letters" ? 0 : 1];
    CHECK(lease.provenance.suite == own["name"]);
    CHECK(lease.provenance.suite_sha256 == own["info"]["sha256"]);
    CHECK(lease.provenance.lora == lora + ":0.5");
  }
  const auto is_artifact = [&](const std::string& sha256) {  // under its hash, with the coordinator
    for (const auto& entry : fs::recursive_directory_iterator(fleet.root / "artifacts"))
      if (entry.path().filename() == sha256) return true;
    return false;
  };
  for (const auto& wanted : plan["suites"]) CHECK(is_artifact(wanted["bundle_sha256"]));
  CHECK(is_artifact(lora));
  for (const auto& entry : fs::directory_iterator(fleet.root / "one/work")) FAIL("left behind: " << entry.path());
}

TEST_CASE("a recipe's text and a model that is a folder travel by their hashes; the agent quantizes, and leaves nothing", "[fleet]") {
  Fleet fleet("recipes");
  RandomModel shape;
  REQUIRE(write_random_model(fleet.root / "tiny.gguf", shape).has_value());
  {
    Process convert("quantfleet", {"quantize", fleet.root / "tiny.gguf", fleet.root / "folder", "--format", "w8a16"}, fleet.root / "convert.log");
    REQUIRE(convert.wait() == 0);
  }
  std::ofstream text(fleet.root / "text.txt");
  for (int i = 0; i < 200; ++i) text << i * i << " the ";
  text.close();
  std::ofstream(fleet.root / "plan.yaml") << "name: recipes\nmodels: [{name: tiny, path: folder}]\n"
                                             "formats: [as-is, {name: gptq, format: GPTQ-4bit-g32, text: text.txt, context: 64, chunks: 4}]\nbaseline: as-is\n"
                                             "suites: [{name: math, limit: 4}]\naccuracy: once\ntiming: off\n";
  fleet.start_coordinator();
  fleet.start_agent("one");
  Process submit("quantfleet", {"submit", fleet.root / "plan.yaml", "--wait", "--state", fleet.root}, fleet.root / "submit.log");
  const int code = submit.wait();
  INFO(fleet.logs());
  REQUIRE(code == 0);
  const auto run = fleet.results();
  REQUIRE(run);
  check_complete(*run);
  const auto plan = nlohmann::json::parse(run->run.plan_json);
  CHECK(plan["formats"][1]["text_sha256"].get<std::string>().size() == 64);
  CHECK(!plan["formats"][1].contains("text"));
  for (const LeaseRow& lease : run->leases)
    if (lease.unit.value.find("/accuracy/tiny/gptq/") != std::string::npos) CHECK(lease.provenance.format == "gptq");
  for (const auto& entry : fs::directory_iterator(fleet.root / "one/work")) FAIL("left behind: " << entry.path());
}

TEST_CASE("what the fleet's commands print as JSON follows its schema", "[fleet]") {
  Fleet fleet("schemas");
  fleet.start_coordinator();
  fleet.start_agent("one");
  const auto answer = [&](const std::string& command) {
    fs::remove(fleet.root / (command + ".out"));
    Process process("quantfleet", {command, "--json", "--state", fleet.root}, fleet.root / (command + ".out"));
    CHECK(process.wait() == 0);
    return nlohmann::json::parse(process.output());
  };
  Process submit = fleet.submit(1);
  wait_until("the run is under way", [&] { return is_under_way(fleet); });
  check_schema("devices", answer("devices"));  // with a unit in its hands
  check_schema("run", answer("status"));
  CHECK(submit.wait() == 0);
  INFO(fleet.logs());
  CHECK(answer("devices")["devices"][0]["selftest"] ==
        nlohmann::json::parse(contents(test::source_dir() / "models/reference/selftest.json"))["digests"]);
  for (const auto& [command, schema] : {std::pair{"devices", "devices"}, {"status", "run"}, {"runs", "runs"}})
    check_schema(schema, answer(command));
  Process results("quantfleet", {"results", "latest", "--json", "--db", fleet.database()}, fleet.root / "results.out");
  CHECK(results.wait() == 0);
  check_schema("results", nlohmann::json::parse(results.output()));
  Process cancel("quantfleet", {"cancel", "latest", "--json", "--state", fleet.root}, fleet.root / "cancel.out");
  CHECK(cancel.wait() == 0);  // of a run that has ended
  check_schema("cancel", nlohmann::json::parse(cancel.output()));
}

// The roles of ansible/ carry the same files to the same places.
TEST_CASE("keys made beforehand and copied to both sides admit an agent", "[fleet]") {
  Fleet fleet("copied-keys");
  const fs::path made = fleet.root / "made";
  fs::create_directories(made);
  for (const std::string name : {"coordinator", "one"}) {
    Process make("quantfleet", {"key", "new", name, "--out", made}, fleet.root / "make.log");
    REQUIRE(make.wait() == 0);
  }
  const auto copy = [&](const std::string& from, const fs::path& to) {
    fs::create_directories(to.parent_path());
    fs::copy_file(made / from, to);
  };
  for (const std::string kind : {".public", ".secret"}) {
    copy("coordinator" + kind, fleet.root / "keys" / ("coordinator" + kind));
    copy("one" + kind, fleet.root / "one" / "keys" / ("agent" + kind));
  }
  copy("coordinator.public", fleet.root / "one" / "keys" / "coordinator.public");
  std::string key = contents(made / "one.public");
  while (key.ends_with('\n')) key.pop_back();
  std::ofstream(fleet.root / "keys" / "trusted.keys") << "# One agent a line: public key, name.\n" << key << " one\n";
  fleet.start_coordinator();
  CHECK(fleet.facts["public_key"].get<std::string>() + "\n" == contents(made / "coordinator.public"));
  Process agent("quantfleet-agent", {"--coordinator", fleet.facts["control"], "--name", "one", "--state", fleet.root / "one", "--threads", "1"},
                fleet.root / "one.log");
  INFO(agent.output());
  CHECK(fleet.submit(1).wait() == 0);
}

TEST_CASE("kill -9 of an agent in the middle loses and doubles nothing", "[fleet]") {
  Fleet fleet("agent-dies");
  fleet.start_coordinator();
  fleet.start_agent("one");
  fleet.start_agent("two");
  Process submit = fleet.submit(2);
  wait_until("the run is under way", [&] { return is_under_way(fleet); });
  fleet.agents.at("one").kill(SIGKILL);
  fleet.start_agent("one");
  wait_until("the run ends", [&] { return fleet.finished(); });
  INFO(fleet.logs());
  check_complete(fleet.results().value());
}

TEST_CASE("kill -9 of the coordinator in the middle loses and doubles nothing", "[fleet]") {
  Fleet fleet("coordinator-dies");
  fleet.start_coordinator();
  fleet.start_agent("one");
  Process submit = fleet.submit(1);
  wait_until("the run is under way", [&] { return is_under_way(fleet); });
  const std::string control = fleet.facts["control"], artifacts = fleet.facts["artifacts"];
  fleet.coordinator->kill(SIGKILL);
  fleet.start_coordinator(control, artifacts);  // where its agents look for it
  wait_until("the run ends", [&] { return fleet.finished(); });
  INFO(fleet.logs());
  check_complete(fleet.results().value());
}

TEST_CASE("an agent whose key is not admitted ends with a clear sentence and exit code 4", "[fleet]") {
  Fleet fleet("stranger");
  fleet.start_coordinator();
  fleet.start_agent("stranger", /*admitted=*/false);
  Process& stranger = fleet.agents.at("stranger");
  CHECK(stranger.wait() == 4);
  CHECK(stranger.output().find("does not admit this agent's key") != std::string::npos);
  CHECK(stranger.output().find("quantfleet key trust") != std::string::npos);
}

TEST_CASE("a taken port is a sentence and exit code 4", "[fleet]") {
  Fleet fleet("port"), other("port-other");
  fleet.start_coordinator();
  Process second("quantfleet", {"coordinator", "--state", other.root, "--db", other.database(), "--listen", fleet.facts["control"], "--http", "127.0.0.1:0"},
                 other.root / "coordinator.log");
  CHECK(second.wait() == 4);
  CHECK(second.output().find(fleet.facts["control"].get<std::string>()) != std::string::npos);
}

TEST_CASE("an agent's program tests itself without a coordinator", "[fleet]") {
  Fleet fleet("selftest");
  Process selftest("quantfleet-agent", {"selftest", "--kernels", "scalar"}, fleet.root / "selftest.log");
  CHECK(selftest.wait() == 0);
  CHECK(selftest.output().find("each the expected one (scalar kernels)") != std::string::npos);
}
