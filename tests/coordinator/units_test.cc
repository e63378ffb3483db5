#include "coordinator/jobs/expand.h"
#include "coordinator/scheduler/scheduler.h"

#include <catch2/catch.hpp>

#include <set>

using namespace quantfleet;
using namespace quantfleet::coordinator;
using namespace std::chrono_literals;

namespace {

const Time t0{1'000'000ms};

Register agent_on(const std::string& host) {
  Register agent;
  agent.name = host + "-agent";
  agent.device.host_id = host;
  agent.formats = {"F16", "Q4_0"};
  agent.suites = {{"math", "1", std::string(64, '1'), "math", "generate", 120, 0, ""},
                  {"text", "1", std::string(64, '2'), "text", "rolling", 60, 0, ""}};
  return agent;
}

JobSpec plan() {
  JobSpec spec;
  spec.name = "p";
  spec.models = {{"m", "", std::string(64, 'a')}};
  spec.formats = {"F16", "Q4_0"};
  spec.baseline = "F16";
  spec.activations = {"default"};
  spec.suites = {{"math", 0}, {"text", 0}};
  return spec;
}

int count(const std::vector<Unit>& units, std::string_view kind, std::string_view purpose = kMeasure) {
  int n = 0;
  for (const Unit& unit : units) n += kind_of(unit.work) == kind && unit.purpose == purpose;
  return n;
}

std::vector<Unit> expanded(const JobSpec& spec, std::vector<Register> agents) {
  return expand({"j"}, spec, {std::move(agents)}, t0).value();
}

}  // namespace

TEST_CASE("an expired lease returns its work to the queue until attempts run out", "[lease]") {
  const UnitState leased = Leased{{"agent-a"}, "h", t0, t0 + 30s};
  SECTION("one millisecond early, nothing happens") { CHECK(is<Leased>(on_tick(leased, t0 + 29'999ms, 2, 3))); }
  SECTION("at the deadline the unit is queued again") { CHECK(is<Queued>(on_tick(leased, t0 + 30s, 2, 3))); }
  SECTION("the last attempt fails instead of looping") { CHECK(is<Failed>(on_tick(leased, t0 + 30s, 3, 3))); }
}

TEST_CASE("a plan becomes one quantize unit per format and accuracy units of at most unit_items items", "[expand]") {
  const auto units = expanded(plan(), {agent_on("h1")});
  CHECK(count(units, "quantize") == 2);
  CHECK(count(units, "reference_logits") == 2);        // 60 items in ranges of 50
  CHECK(count(units, "accuracy") == 2 * (3 + 2));
  CHECK(count(units, "accuracy", kSpotCheck) == 0);    // one machine has nobody to be compared with
  CHECK(count(units, "timing") == 2);
  for (const Unit& unit : units) CHECK(is<Queued>(unit.state) == (kind_of(unit.work) == "quantize"));
}

TEST_CASE("what the KV cache holds is an axis: accuracy and timing units for each, files and reference logits once", "[expand]") {
  JobSpec spec = plan();
  spec.kv = {"f32", "q8_0"};
  const auto units = expanded(spec, {agent_on("h1")});
  CHECK(count(units, "quantize") == 2);
  CHECK(count(units, "reference_logits") == 2);
  CHECK(count(units, "accuracy") == 2 * 2 * (3 + 2));
  CHECK(count(units, "timing") == 2 * 2);
  std::set<std::string> ids;
  for (const Unit& unit : units) {
    CHECK(ids.insert(unit.id.value).second);
    if (const auto* accuracy = std::get_if<AccuracyWork>(&unit.work)) CHECK(accuracy->kv == unit.kv);
    if (const auto* timing = std::get_if<TimingWork>(&unit.work)) CHECK(timing->kv == unit.kv);
  }
}

TEST_CASE("accuracy is measured once for the lab, on every device, or once with spot checks", "[expand]") {
  JobSpec spec = plan();
  const std::vector<Register> two{agent_on("h1"), agent_on("h2")};
  SECTION("spot check") {
    const auto units = expanded(spec, two);
    CHECK(count(units, "accuracy") == 10);
    int items = 0;
    for (const Unit& unit : units) items += unit.purpose == kSpotCheck ? unit.items : 0;
    CHECK(items == 32 * 2 * 2);                        // items x formats x machines
    CHECK(count(units, "timing") == 4);
  }
  SECTION("once") {
    spec.accuracy = AccuracyOnce{};
    CHECK(count(expanded(spec, two), "accuracy", kSpotCheck) == 0);
  }
  SECTION("every device") {
    spec.accuracy = AccuracyEveryDevice{};
    CHECK(count(expanded(spec, two), "accuracy") == 20);
  }
}

TEST_CASE("a plan that the fleet cannot answer is refused with the name it lacks", "[expand]") {
  JobSpec spec = plan();
  const auto problem = [&] { return expand({"j"}, spec, {{agent_on("h1")}}, t0).error().detail; };
  SECTION("format") {
    spec.formats.push_back("Q9_X");
    CHECK_THAT(problem(), Catch::Contains("\"Q9_X\""));
  }
  SECTION("suite") {
    spec.suites.push_back({"poetry", 0});
    CHECK_THAT(problem(), Catch::Contains("\"poetry\""));
  }
  SECTION("nobody there") { CHECK(expand({"j"}, spec, {}, t0).error().code == Code::kUnreachable); }
}

TEST_CASE("a recipe goes with its quantize unit, its files by hash, to agents that make its kind of format", "[expand]") {
  JobSpec spec = plan();
  FormatRecipe recipe;
  recipe.name = "gptq";
  recipe.format = "gptq-4bit-g128";
  recipe.text = "wiki.txt";
  recipe.text_sha256 = std::string(64, 'c');
  spec.formats.push_back("gptq");
  spec.recipes = {recipe};
  Register able = agent_on("h1"), unable = agent_on("h1");
  able.formats.insert(able.formats.end(), {"GPTQ-*", "budget*"});
  const auto problem = [&](const JobSpec& asked, const Register& agent) { return expand({"j"}, asked, {{agent}}, t0).error().detail; };
  CHECK_THAT(problem(spec, unable), Catch::Contains("no agent can quantize to \"gptq-4bit-g128\""));
  const auto units = expanded(spec, {able, unable});
  const Unit* unit = nullptr;
  for (const Unit& one : units)
    if (kind_of(one.work) == "quantize" && one.format == "gptq") unit = &one;
  REQUIRE(unit);
  const auto& work = std::get<QuantizeWork>(unit->work);
  CHECK(work.format == "gptq-4bit-g128");
  REQUIRE(work.recipe);
  CHECK(work.recipe->text.empty());
  CHECK(work.recipe->text_sha256 == recipe.text_sha256);
  CHECK(why_not(*unit, 0, able).empty());
  CHECK_THAT(why_not(*unit, 0, unable), Catch::Contains("cannot quantize to gptq"));

  spec.recipes[0].format.clear();
  spec.recipes[0].budget_bpw = 3.5;
  CHECK(expand({"j"}, spec, {{able}}, t0).has_value());
  JobSpec plain = plan();
  plain.formats.push_back("GPTQ-4bit-g128");
  CHECK_THAT(problem(plain, able), Catch::Contains("\"GPTQ-4bit-g128\" needs a calibration text: {name: NAME, format: GPTQ-4bit-g128, text: FILE}"));
  spec.recipes[0].text_sha256.clear();
  spec.recipes[0].text = "wiki.txt";
  CHECK_THAT(problem(spec, able), Catch::Contains("names a file without its sha256"));
}

TEST_CASE("timing waits for an empty host and is not starved for ever", "[scheduler]") {
  auto units = expanded(plan(), {agent_on("h1")});
  const Register one = agent_on("h1"), two = agent_on("h1");
  Unit* timing = nullptr;
  Unit* accuracy = nullptr;
  for (Unit& unit : units) {
    if (is_timing(unit)) timing = &unit;
    if (kind_of(unit.work) == "accuracy") accuracy = &unit;
  }
  REQUIRE((timing && accuracy));
  const std::map<JobId, Time> submitted{{{"j"}, t0}};
  const std::vector<QueuedUnit> queued{{timing, 0}, {accuracy, 0}};
  SECTION("idle host: accuracy goes first, timing does not share") {
    const std::vector<AgentView> agents{{{"a"}, &one, true, nullptr}, {{"b"}, &two, true, nullptr}};
    const auto proposals = propose(queued, agents, submitted, t0);
    REQUIRE(proposals.size() == 1);
    CHECK(proposals[0].unit == accuracy);
  }
  SECTION("a busy host gets no timing, but after a minute no accuracy either") {
    const Unit other = *accuracy;
    const std::vector<AgentView> agents{{{"a"}, &one, false, &other}, {{"b"}, &two, true, nullptr}};
    CHECK(propose(queued, agents, submitted, t0)[0].unit == accuracy);
    CHECK(propose(queued, agents, submitted, t0 + 61s).empty());
  }
  SECTION("while timing runs, nothing else is granted there") {
    const Unit running = *timing;
    const std::vector<AgentView> agents{{{"a"}, &one, false, &running}, {{"b"}, &two, true, nullptr}};
    CHECK(propose(queued, agents, submitted, t0).empty());
  }
}

TEST_CASE("a model that does not fit an agent's memory is not given to it", "[scheduler]") {
  const auto units = expanded(plan(), {agent_on("h1")});
  Register small = agent_on("h1");
  small.device.memory_bytes = 1000;
  CHECK_THAT(why_not(units.back(), 900, small), Catch::Contains("does not fit"));
  CHECK(why_not(units.back(), 700, small) == "");
}

TEST_CASE("adapters, engines and token probes of a model go with its work", "[expand]") {
  JobSpec spec = plan();
  spec.models[0].lora = {{"", std::string(64, 'b'), 0.5}};
  spec.models[0].token_probes_sha256 = std::string(64, 'c');
  const std::vector<LoraUse> expected{{std::string(64, 'b'), 0.5}};
  for (const Unit& unit : expanded(spec, {agent_on("h1"), agent_on("h2")})) {
    CAPTURE(unit.id.value);
    if (const auto* work = std::get_if<AccuracyWork>(&unit.work)) {
      CHECK(work->lora == expected);
      CHECK(work->token_probes_sha256 == std::string(64, 'c'));
    } else if (const auto* reference = std::get_if<ReferenceLogitsWork>(&unit.work)) {
      CHECK(reference->lora == expected);
    } else if (const auto* timing = std::get_if<TimingWork>(&unit.work)) {
      CHECK(timing->lora == expected);
    }
  }
  SECTION("an adapter without a hash is the submitter's fault") {
    spec.models[0].lora[0].sha256.clear();
    CHECK(expand({"j"}, spec, {{agent_on("h1")}}, t0).error().code == Code::kBadValue);
  }
  SECTION("an engine that no agent has") {
    spec.models[0].lora.clear();
    spec.models[0].engine = "lab-vllm";
    spec.formats = {"as-is"}, spec.baseline = "as-is", spec.timing.enabled = false;
    const auto units = expand({"j"}, spec, {{agent_on("h1")}}, t0);
    REQUIRE(units.has_error());
    CHECK(units.error().detail.find("lab-vllm") != std::string::npos);
  }
  SECTION("only agents with the engine take its units; nothing is compared by digests") {
    spec.models[0].lora.clear();
    spec.models[0].engine = "lab-vllm";
    spec.formats = {"as-is"}, spec.baseline = "as-is", spec.timing.enabled = false;
    Register with = agent_on("h1"), without = agent_on("h2");
    with.engines = {"native", "lab-vllm"};
    const auto units = expanded(spec, {with, without});
    CHECK(count(units, "accuracy", kSpotCheck) == 0);
    CHECK(count(units, "reference_logits") == 0);
    REQUIRE(count(units, "accuracy") == 3 + 2);
    for (const Unit& unit : units) {
      CHECK(is<Queued>(unit.state));
      CHECK(why_not(unit, 0, with).empty());
      CHECK(why_not(unit, 0, without).find("no engine called lab-vllm") != std::string::npos);
    }
  }
}
