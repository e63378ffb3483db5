#include "contract/job_spec.h"

#include <catch2/catch.hpp>

using namespace quantfleet;

namespace {

constexpr std::string_view kPlan = R"(name: demo
seed: 7
models:
  - name: reference
    path: models/reference/reference-f16.gguf
formats: [F16, Q8_0, Q2_K]
baseline: F16
activations: [default]
suites:
  - math
  - {name: text, limit: 40}
accuracy: {spot_check: 8}
timing: {prompt_tokens: 64, generated_tokens: 16, repetitions: 3}
limits: {unit_items: 25, lease_seconds: 5.5}
)";

std::string problem(std::string_view yaml) {
  const auto spec = job_spec_from_yaml(yaml, "p.yaml");
  return spec ? std::string("accepted") : spec.error().detail;
}

std::string with(std::string_view from, std::string_view to) {
  std::string text(kPlan);
  const auto found = text.find(from);
  REQUIRE(found != std::string::npos);
  return text.replace(found, from.size(), to);
}

}  // namespace

TEST_CASE("a plan in YAML says what to run, and defaults fill the rest", "[job_spec]") {
  const auto spec = job_spec_from_yaml(kPlan, "p.yaml");
  REQUIRE(spec.has_value());
  CHECK(spec->seed == 7);
  CHECK(spec->models.front().path == "models/reference/reference-f16.gguf");
  CHECK(spec->suites == std::vector<SuiteSpec>{{"math", 0}, {"text", 40}});
  CHECK(spec->accuracy == AccuracyPolicy{AccuracySpotCheck{8}});
  CHECK(spec->timing == TimingSpec{true, 64, 16, 3});
  CHECK(spec->limits.unit_items == 25);
  CHECK(spec->limits.attempts == LimitSpec{}.attempts);
  CHECK(spec->limits.lease_seconds == 5.5);
}

TEST_CASE("the canonical text reads back as the same plan and forgets where a hashed model lay", "[job_spec]") {
  auto spec = job_spec_from_yaml(kPlan, "p.yaml");
  REQUIRE(spec.has_value());
  CHECK((job_spec_from_json(canonical_json(*spec), "json").value() == *spec));
  spec->models[0].sha256 = std::string(64, 'b');
  JobSpec moved = *spec;
  moved.models[0].path = "elsewhere.gguf";
  CHECK(canonical_json(moved) == canonical_json(*spec));
  for (const AccuracyPolicy& policy : {AccuracyPolicy{AccuracyOnce{}}, AccuracyPolicy{AccuracyEveryDevice{}}}) {
    spec->accuracy = policy;
    CHECK(job_spec_from_json(canonical_json(*spec), "json").value().accuracy == policy);
  }
}

TEST_CASE("a bad plan is refused with file, line, field and what was expected", "[job_spec]") {
  CHECK_THAT(problem(with("seed: 7", "seed: seven")), Catch::StartsWith("p.yaml:2: seed: expected a whole number"));
  CHECK_THAT(problem(with("seed: 7", "seed: 010")), Catch::StartsWith("p.yaml:2: seed: expected a whole number"));
  CHECK_THAT(problem(with("seed: 7", "seed: 7\nseed: 8")), Catch::StartsWith("p.yaml:3: key 'seed' appears twice"));
  CHECK_THAT(problem(with("seed: 7", "sed: 7")), Catch::StartsWith("p.yaml:2: sed: unknown key"));
  CHECK_THAT(problem(with("name: reference", "name: 12")), Catch::StartsWith("p.yaml:4: models[0].name: expected text"));
  CHECK_THAT(problem(with("name: reference", "name: a/b")), Catch::StartsWith("p.yaml:4: models[0].name: \"a/b\" is not a name"));
  CHECK_THAT(problem(with("path: models", "pfad: models")), Catch::StartsWith("p.yaml:5: models[0].pfad: unknown key"));
  CHECK_THAT(problem(with("Q8_0, Q2_K", "Q8_0, Q8_0")), Catch::StartsWith("p.yaml:6: formats[2]: \"Q8_0\" is listed twice"));
  CHECK_THAT(problem(with("baseline: F16", "baseline: F32")), Catch::StartsWith("p.yaml:7: baseline:"));
  CHECK_THAT(problem(with("[default]", "[fp8]")), Catch::StartsWith("p.yaml:8: activations[0]: expected f32, int8 or default"));
  CHECK_THAT(problem(with("[default]", "[default]\nkv: [f32, q5_0]")), Catch::StartsWith("p.yaml:9: kv[1]: expected f32, f16, q8_0 or q4_0"));
  CHECK_THAT(problem(with("[default]", "[default]\nkv: [f16, f16]")), Catch::StartsWith("p.yaml:9: kv[1]: \"f16\" is listed twice"));
  CHECK_THAT(problem(with("limit: 40", "limit: -1")), Catch::StartsWith("p.yaml:11: suites[1].limit:"));
  CHECK_THAT(problem(with("{spot_check: 8}", "sometimes")), Catch::StartsWith("p.yaml:12: accuracy: expected once"));
  CHECK_THAT(problem(with("{prompt_tokens: 64", "{prompt_tokens: 0")), Catch::StartsWith("p.yaml:13: timing.prompt_tokens:"));
  CHECK_THAT(problem(with("unit_items: 25", "unit_items: yes")), Catch::StartsWith("p.yaml:14: limits.unit_items:"));
  CHECK_THAT(problem("name: [x"), Catch::StartsWith("p.yaml:1: not valid YAML"));
  CHECK_THAT(problem("name: x\n"), Catch::Contains("models: is missing"));
  CHECK_THAT(problem(""), Catch::StartsWith("p.yaml"));
  CHECK_THAT(problem("--- {}\n--- {}\n"), Catch::Contains("a second document"));
  CHECK_THAT(problem("name: !!binary aGk=\n"), Catch::StartsWith("p.yaml:1: tag"));
  CHECK_THAT(problem("a: &x [*x]"), Catch::Contains("anchors are not allowed"));
  CHECK_THAT(problem("\xff\xfe"), Catch::Contains("UTF-8"));
  std::string nested;
  for (int level = 0; level < 40; ++level) nested += "- ";
  CHECK_THAT(problem(nested + "x"), Catch::Contains("nested deeper than 32 levels"));
  CHECK_THAT(problem(std::string(50'000, '[')), Catch::StartsWith("p.yaml:1:"));
}

TEST_CASE("a format is a name, or a recipe with one; plans without recipes keep their hash", "[job_spec]") {
  const auto formats = [](const std::string& list) { return with("[F16, Q8_0, Q2_K]", list); };
  const auto spec = job_spec_from_yaml(formats("[F16, {name: gptq, format: GPTQ-4bit-g128, text: wiki.txt, chunks: 64}, {name: mix, budget_bpw: 3.5, text: wiki.txt, candidates: [Q3_K, Q4_K]}]"), "p.yaml");
  REQUIRE(spec.has_value());
  CHECK(spec->formats == std::vector<std::string>{"F16", "gptq", "mix"});
  REQUIRE(spec->recipes.size() == 2);
  CHECK(spec->recipe_of("F16") == nullptr);
  CHECK(spec->recipe_of("gptq")->format == "GPTQ-4bit-g128");
  CHECK(spec->recipe_of("gptq")->chunks == 64);
  CHECK(spec->recipe_of("gptq")->context == FormatRecipe{}.context);
  CHECK(spec->recipe_of("mix")->candidates.size() == 2);
  CHECK((job_spec_from_json(canonical_json(*spec), "json").value() == *spec));

  JobSpec hashed = *spec;
  hashed.recipes[0].text_sha256 = std::string(64, 'c');
  JobSpec moved = hashed;
  moved.recipes[0].text = "elsewhere.txt";
  CHECK(canonical_json(moved) == canonical_json(hashed));  // a text is its content
  CHECK(canonical_json(hashed) != canonical_json(*spec));
  CHECK(canonical_json(*job_spec_from_yaml(kPlan, "p.yaml")).find("\"formats\":[\"F16\",\"Q8_0\",\"Q2_K\"]") != std::string::npos);

  const auto bad = [&](const std::string& recipe) { return problem(formats("[F16, " + recipe + "]")); };
  CHECK_THAT(bad("{format: Q4_0}"), Catch::StartsWith("p.yaml:6: formats[1].name"));
  CHECK_THAT(bad("{name: x}"), Catch::StartsWith("p.yaml:6: formats[1]: needs one of format and budget_bpw"));
  CHECK_THAT(bad("{name: x, format: Q4_0, budget_bpw: 3}"), Catch::Contains("needs one of format and budget_bpw"));
  CHECK_THAT(bad("{name: x, budget_bpw: 3}"), Catch::Contains("a budget needs a calibration text"));
  CHECK_THAT(bad("{name: x, format: Q2_K, text: a, imatrix: b}"), Catch::Contains("a text and an imatrix"));
  CHECK_THAT(bad("{name: x, format: Q2_K, candidates: [Q3_K]}"), Catch::Contains("candidates are of a budget"));
  CHECK_THAT(bad("{name: F16, format: Q2_K}"), Catch::Contains("\"F16\" is listed twice"));
  CHECK_THAT(bad("{name: x, format: as-is}"), Catch::Contains("as-is is the file unchanged"));
  CHECK_THAT(bad("{name: x, format: Q2_K, contxt: 5}"), Catch::Contains("formats[1].contxt: unknown key"));
  CHECK_THAT(bad("[x]"), Catch::Contains("expected a name or a recipe"));
}

TEST_CASE("timing can be switched off, and then a suite is needed", "[job_spec]") {
  const auto spec = job_spec_from_yaml(with("timing: {prompt_tokens: 64, generated_tokens: 16, repetitions: 3}", "timing: off"), "p.yaml");
  REQUIRE(spec.has_value());
  CHECK_FALSE(spec->timing.enabled);
  CHECK_THAT(problem("name: x\nmodels: [{name: m, path: p}]\nformats: [F16]\ntiming: off\n"), Catch::Contains("suites"));
}

TEST_CASE("a model may carry adapters and be answered by a named engine; plans without keep their hash", "[job_spec]") {
  const auto with_model = [](const std::string& model, const std::string& rest = "formats: [as-is]\ntiming: off\nsuites: [math]\n") {
    return "name: x\nmodels: [{name: m, path: p" + model + "}]\n" + rest;
  };
  const auto read = [&](const std::string& yaml) { return job_spec_from_yaml(yaml, "p.yaml"); };
  const JobSpec plain = read(with_model("")).value();
  CHECK(canonical_json(plain).find("lora") == std::string::npos);
  CHECK(canonical_json(plain).find("engine") == std::string::npos);

  CHECK((read(with_model(", lora: a.gguf"))->models[0].lora == std::vector<LoraSpec>{{"a.gguf", "", 1}}));
  JobSpec spec = read(with_model(", lora: [a.gguf, {path: b.gguf, scale: -0.5}]")).value();
  CHECK((spec.models[0].lora == std::vector<LoraSpec>{{"a.gguf", "", 1}, {"b.gguf", "", -0.5}}));
  CHECK((job_spec_from_json(canonical_json(spec), "json").value() == spec));
  CHECK(canonical_json(spec) != canonical_json(plain));
  spec.models[0].lora[0].sha256 = spec.models[0].lora[1].sha256 = std::string(64, 'b');
  JobSpec moved = spec;
  moved.models[0].lora[0].path = "elsewhere.gguf";
  CHECK(canonical_json(moved) == canonical_json(spec));
  moved.models[0].lora[1].scale = 0.5;
  CHECK(canonical_json(moved) != canonical_json(spec));
  CHECK_THAT(problem(with_model(", lora: [{scale: 2}]")), Catch::StartsWith("p.yaml:2: models[0].lora[0]: needs a path or a sha256"));
  CHECK_THAT(problem(with_model(", lora: [{path: a, scale: much}]")), Catch::StartsWith("p.yaml:2: models[0].lora[0].scale: expected a number"));
  CHECK_THAT(problem(with_model(", lora: [a,a,a,a,a,a,a,a,a]")), Catch::Contains("9 adapters, at most 8"));

  const JobSpec served = read(with_model(", engine: lab-vllm")).value();
  CHECK(served.models[0].engine == "lab-vllm");
  CHECK((job_spec_from_json(canonical_json(served), "json").value() == served));
  CHECK_THAT(problem(with_model(", engine: v, lora: a")), Catch::Contains("must be started with its adapters"));
  CHECK_THAT(problem(with_model(", engine: v", "formats: [F16]\ntiming: off\nsuites: [math]\n")), Catch::Contains("formats: ") && Catch::Contains("as-is alone"));
  CHECK_THAT(problem(with_model(", engine: v", "formats: [as-is]\nsuites: [math]\n")), Catch::Contains("timing: off is needed"));
  CHECK_THAT(problem(with_model(", engine: v", "formats: [as-is]\ntiming: off\nkv: [f16]\nsuites: [math]\n")), Catch::Contains("engine's own"));
}

TEST_CASE("a plan may ask for verdicts; plans that do not keep their hash", "[job_spec]") {
  const auto until = [](const std::string& line) { return job_spec_from_yaml(std::string(kPlan) + line, "p.yaml"); };
  CHECK_FALSE(until("")->until.has_value());
  CHECK(canonical_json(*until("")).find("until") == std::string::npos);
  CHECK((until("until: verdict\n")->until == UntilVerdict{}));
  const JobSpec spec = until("until: {margin: 0.01, level: 0.1}\n").value();
  CHECK((spec.until == UntilVerdict{0.01, 0.1}));
  CHECK((job_spec_from_json(canonical_json(spec), "json").value() == spec));
  CHECK(problem(std::string(kPlan) + "until: soon\n").find("expected verdict or {margin: M, level: L}") != std::string::npos);
  CHECK(problem(std::string(kPlan) + "until: {margin: 0}\n").find("until.margin") != std::string::npos);
}
