#include "reports/html/page.h"
#include "reports/statistics/random.h"
#include "reports/tables/export.h"
#include "reports/tables/gate.h"
#include "reports/tables/summary.h"
#include "reports/tables/terminal.h"
#include "tests/json_schema.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

using namespace quantfleet;
using namespace quantfleet::reports;

namespace {

SuiteInfo suite(std::string name, std::string area, std::string kind = "loglikelihood") {
  SuiteInfo info;
  info.name = std::move(name);
  info.version = "1";
  info.sha256 = "sha-" + info.name;
  info.area = std::move(area);
  info.kind = std::move(kind);
  info.items = 100;
  info.chance = 0.25;
  return info;
}

Row answer(std::string format, const std::string& suite_name, int index, double accuracy, std::string device = "desk-1") {
  Row row;
  row.kind = "accuracy";
  row.device = std::move(device);
  row.model = "tiny";
  row.format = std::move(format);
  row.activations = row.format == "F16" ? "f32" : "int8";
  row.suite = suite_name;
  row.suite_sha256 = "sha-" + suite_name;
  row.program_version = "1";
  row.result.item.value = fmt::format("i{:03}", index);
  row.result.index = index;
  row.result.scores["accuracy"] = accuracy;
  row.result.logits_digest = "d" + row.format + row.result.item.value;
  return row;
}

Row text_row(std::string format, double nll, double tokens, std::optional<double> kl) {
  Row row = answer(std::move(format), "text", 0, 0);
  row.result.scores = {{"nll", nll}, {"nll_squared", nll * nll / tokens * 1.5}, {"tokens", tokens}};
  if (kl) row.result.scores.insert({{"kl_divergence_sum", *kl}, {"top1_agreement_sum", 0.9 * tokens}, {"delta_p_sum", -0.02 * tokens}, {"delta_p_squared_sum", 0.0029 * tokens}});
  return row;
}

Row timing(std::string format, double decode) {
  Row row = answer(std::move(format), "", 0, 0);
  row.kind = "timing";
  row.ran_alone = true;
  row.result.scores = {{"prefill_tokens_per_s", 1000}, {"decode_tokens_per_s", decode}, {"first_token_ms", 10}, {"peak_memory_bytes", 2e7}};
  return row;
}

// A run of F16 and Q4_0: 100 items of math, 80 right in F16, 70 in Q4_0 (15 lost, 5 gained).
RunResults small_run() {
  RunResults run;
  run.run = "demo-1";
  run.name = "demo";
  run.status = "done";
  run.baseline = "F16";
  run.formats = {"F16", "Q4_0"};
  run.suites = {suite("sums", "math"), suite("text", "text", "rolling")};
  for (int i = 0; i < 100; ++i) {
    run.rows.push_back(answer("F16", "sums", i, i < 80));
    run.rows.push_back(answer("Q4_0", "sums", i, (i >= 15 && i < 80) || (i >= 95)));
  }
  run.rows.push_back(text_row("F16", 200, 100, std::nullopt));
  run.rows.push_back(text_row("Q4_0", 210, 100, 3.0));
  for (double decode : {90.0, 100.0, 130.0}) run.rows.push_back(timing("Q4_0", decode));
  Telemetry energy;
  energy.device = "desk-1", energy.model = "tiny", energy.format = "Q4_0", energy.activations = "int8", energy.kind = "timing";
  energy.series.name = "energy_j";
  energy.series.reason = "no powercap folder on this machine";
  run.telemetry.push_back(energy);
  return run;
}

const FormatSummary& line(const RunSummary& summary, const std::string& format) {
  for (const FormatSummary& f : summary.formats)
    if (f.format == format) return f;
  throw std::runtime_error("no line " + format);
}

}  // namespace

TEST_CASE("rows of another KV cache are a line of their own, compared with the baseline's", "[reports]") {
  RunResults run = small_run();
  for (int i = 0; i < 100; ++i) {
    run.rows.push_back(answer("F16", "sums", i, i < 60));
    run.rows.back().kv = "q4_0";
  }
  const RunSummary summary = summarize(run);
  REQUIRE(summary.formats.size() == 3);
  CHECK(summary.formats[0].is_baseline);
  CHECK(summary.formats[0].kv == "f32");
  CHECK(summary.formats[0].area_accuracy.at("math").value == Approx(0.8));
  const FormatSummary& rounded = summary.formats[1];
  CHECK_FALSE(rounded.is_baseline);
  CHECK(rounded.kv == "q4_0");
  CHECK(rounded.area_accuracy.at("math").value == Approx(0.6));
  REQUIRE(rounded.pooled);
  CHECK(rounded.pooled->lost == 20);
  CHECK(summary.formats[2].format == "Q4_0");
  CHECK(terminal_table(summary, 200).find("kv: what the KV cache held; the baseline ran with f32") != std::string::npos);
  // Against a run without such a cache it is named, not compared.
  const RunSummary against = summarize_against(small_run(), run);
  CHECK(std::any_of(against.notes.begin(), against.notes.end(), [](const std::string& note) {
    return note.find("tiny F16 with f32 activations and a q4_0 KV cache is not in run") != std::string::npos;
  }));
}

TEST_CASE("a run becomes one line per format, the baseline first", "[summary]") {
  const RunSummary summary = summarize(small_run());
  REQUIRE(summary.formats.size() == 2);
  CHECK(summary.formats[0].format == "F16");
  CHECK(summary.formats[0].is_baseline);
  const FormatSummary& q4 = summary.formats[1];
  CHECK(q4.area_accuracy.at("math").value == Approx(0.70));
  REQUIRE(q4.pooled);
  CHECK(q4.pooled->lost == 15);
  CHECK(q4.pooled->gained == 5);
  CHECK(*q4.pooled->retention == Approx(0.45 / 0.55));
}

TEST_CASE("perplexity and divergence are per token over the rolling suites", "[summary]") {
  const RunSummary summary = summarize(small_run());
  CHECK(*line(summary, "F16").perplexity.value == Approx(std::exp(2.0)));
  CHECK_FALSE(line(summary, "F16").kl_divergence.value);
  CHECK(*line(summary, "Q4_0").kl_divergence.value == Approx(0.03));
  CHECK(*line(summary, "Q4_0").top1_agreement.value == Approx(0.9));
  CHECK(*line(summary, "Q4_0").delta_p.value == Approx(-0.02));
  CHECK(results_json(summary)[0]["texts"]["text"]["token_perplexity"]["value"].get<double>() == Approx(std::exp(2.0)));
}

TEST_CASE("speed is the median of repetitions, and energy that was not measured says why", "[summary]") {
  const FormatSummary q4 = line(summarize(small_run()), "Q4_0");
  REQUIRE(q4.speeds.size() == 1);
  CHECK(*q4.speeds[0].decode_tokens_per_s.value == Approx(100));
  CHECK(q4.speeds[0].ran_alone);
  CHECK_FALSE(q4.speeds[0].energy_j_per_token.value);
  CHECK(q4.speeds[0].energy_j_per_token.reason == "no powercap folder on this machine");
  CHECK(line(summarize(small_run()), "F16").speeds.empty());
}

TEST_CASE("a failed item is counted and leaves its pair, it does not count as wrong", "[summary]") {
  RunResults run = small_run();
  for (Row& row : run.rows)
    if (row.format == "Q4_0" && row.suite == "sums" && row.result.index == 0) {
      row.result.scores.clear();
      row.result.error = Error{Code::kTimeout, "longer than 60 s"};
    }
  const FormatSummary q4 = line(summarize(run), "Q4_0");
  CHECK(q4.errors == 1);
  CHECK(q4.pooled->lost == 14);
  CHECK(q4.pooled->areas[0].items == 99);
}

namespace {

// The first items of one format fail, as where a server answers 500.
RunResults failing(RunResults run, const std::string& format, int items) {
  for (Row& row : run.rows)
    if (row.format == format && row.suite == "sums" && row.result.index < items) {
      row.result.scores.clear();
      row.result.error = Error{Code::kIo, "http://127.0.0.1:1: 500 Internal Server Error"};
    }
  return run;
}

bool said(const RunSummary& summary, const std::string& words) {
  return std::any_of(summary.notes.begin(), summary.notes.end(), [&](const std::string& note) { return note.find(words) != std::string::npos; });
}

}  // namespace

TEST_CASE("a format of which no item was answered has no accuracy, no retention and no verdict", "[summary]") {
  const RunSummary summary = summarize(failing(small_run(), "Q4_0", 100));
  const auto objects = results_json(summary);
  REQUIRE(objects.size() == 2);
  const auto& q4 = objects[1];
  CHECK(q4["items"] == 100);
  CHECK(q4["errors"] == 100);
  for (const char* number : {"accuracy", "standard_error", "retention", "retention_low", "retention_high", "raw_ratio"}) CHECK(q4[number].is_null());
  CHECK(q4["verdict"] == "UNKNOWN");
  CHECK(objects[0]["verdict"] == "SAME");
  CHECK(test::schema_violations("results", objects).empty());
  CHECK(results_csv(summary).find("sums,math,100,100,0.25,,,F16,,,,,UNKNOWN") != std::string::npos);
  CHECK_FALSE(line(summary, "Q4_0").area_accuracy.contains("math"));
  CHECK(said(summary, "tiny Q4_0, suite sums: 100 of 100 items failed and are in no number (first: item i000: http://127.0.0.1:1: 500"));
  const std::string table = terminal_table(summary, 0);
  CHECK(table.find("100 of 100 items failed") != std::string::npos);
  CHECK(table.find("UNKNOWN") != std::string::npos);
  const std::string page = html_page(summary);
  CHECK(page.find("100 of 100 items failed") != std::string::npos);
  CHECK(page.find(R"("verdict":"UNKNOWN"})") != std::string::npos);
  CHECK(judge(summarize_against(small_run(), failing(small_run(), "Q4_0", 100)), {}).outcome == GateOutcome::kUndecided);
}

TEST_CASE("a baseline that has no answers judges nobody", "[summary]") {
  const RunResults run = failing(small_run(), "F16", 100);
  const RunSummary within = summarize(run), between = summarize_against(run, small_run());
  CHECK(results_json(within)[0]["verdict"] == "UNKNOWN");
  for (const auto& [summary, format] : {std::pair(within, "Q4_0"), std::pair(between, "F16")}) {
    const FormatSummary& judged = line(summary, format);
    CHECK(judged.area_accuracy.contains("math"));
    CHECK_FALSE(judged.pooled);
    CHECK(said(summary, "suite sums: no item of the baseline was answered: not compared"));
    for (const auto& object : results_json(summary)) {
      if (object["format"] != format) continue;
      CHECK(object["accuracy"].is_number());
      CHECK(object["retention"].is_null());
      CHECK(object["verdict"] == "UNKNOWN");
    }
    CHECK(terminal_table(summary, 0).find("UNKNOWN") != std::string::npos);
    CHECK(judge(summary, {}).outcome == GateOutcome::kUndecided);
  }
}

TEST_CASE("items that failed are counted beside the numbers of those that were answered", "[summary]") {
  const RunSummary summary = summarize(failing(small_run(), "Q4_0", 20));
  const auto q4 = results_json(summary)[1];
  CHECK(q4["errors"] == 20);
  CHECK(q4["accuracy"] == 65.0 / 80);
  CHECK(q4["flips_lost"] == 0);
  CHECK(terminal_table(summary, 0).find("20 of 100 items failed") != std::string::npos);
}

TEST_CASE("a suite without any answer leaves nobody SAME, and who is worse elsewhere stays WORSE", "[summary]") {
  RunResults run = failing(small_run(), "Q4_0", 100);
  run.suites.push_back(suite("words", "language"));
  const int right = GENERATE(50, 20);
  for (int i = 0; i < 100; ++i) {
    run.rows.push_back(answer("F16", "words", i, i < 50));
    run.rows.push_back(answer("Q4_0", "words", i, i < right));
  }
  const FormatSummary q4 = line(summarize(run), "Q4_0");
  REQUIRE(q4.pooled);
  CHECK(q4.pooled->areas.size() == 1);
  CHECK(q4.pooled->verdict == (right == 50 ? Verdict::kUnknown : Verdict::kWorse));
  const GateOutcome outcome = judge(summarize(run), {}).outcome;
  CHECK(outcome == (right == 50 ? GateOutcome::kUndecided : GateOutcome::kFail));
}

TEST_CASE("devices that compute other logits for one item are named, equal ones counted once", "[summary]") {
  RunResults run = small_run();
  run.rows.push_back(answer("Q4_0", "sums", 20, 1, "pi-5"));
  Row damaged = answer("Q4_0", "sums", 21, 1, "pi-5");
  damaged.result.logits_digest = "other";
  run.rows.push_back(damaged);
  const RunSummary summary = summarize(run);
  CHECK(summary.digests_compared == 2);
  REQUIRE(summary.mismatches.size() == 1);
  CHECK(summary.mismatches[0].device_b == "pi-5");
  CHECK(line(summary, "Q4_0").suites[0].items == 100);
}

TEST_CASE("runs over different versions of a suite are not compared", "[summary]") {
  RunResults base = small_run(), candidate = small_run();
  candidate.suites[0].sha256 = "other";
  for (Row& row : candidate.rows) row.suite_sha256 = "other";
  const RunSummary summary = summarize_against(base, candidate);
  CHECK_FALSE(line(summary, "Q4_0").pooled);
  REQUIRE_FALSE(summary.notes.empty());
  CHECK(summary.notes[0].find("suite sums differs") != std::string::npos);
}

TEST_CASE("a suite whose items were asked in another way is refused in a sentence, and the others are compared", "[summary]") {
  RunResults run = small_run();
  run.suites.push_back(suite("other", "math"));
  for (int i = 0; i < 100; ++i)
    for (const char* format : {"F16", "Q4_0"}) run.rows.push_back(answer(format, "other", i, i < 50));
  for (Row& row : run.rows) row.result.request_sha256 = std::string(64, 'a');
  REQUIRE(line(summarize(run), "Q4_0").pooled->areas[0].items == 200);
  CHECK(summarize(run).notes.empty());

  for (Row& row : run.rows)
    if (row.suite == "sums" && row.format == "Q4_0" && row.result.index == 7) row.result.request_sha256 = std::string(64, 'b');
  const RunSummary summary = summarize(run);
  REQUIRE(summary.notes.size() == 1);
  CHECK_THAT(summary.notes[0], Catch::Contains("suite sums: 1 of 100 items were not asked in the same words") && Catch::Contains("Q4_0") &&
                                   Catch::Contains("item i007: request aaaaaaaaaaaa for F16, bbbbbbbbbbbb for Q4_0") && Catch::Contains("not compared"));
  REQUIRE(line(summary, "Q4_0").pooled);
  CHECK(line(summary, "Q4_0").pooled->areas[0].items == 100);  // of the other suite
  CHECK_FALSE(line(summary, "Q4_0").suites[0].against_baseline);

  CHECK(judge(summarize(run), {1, {}}).outcome == GateOutcome::kUndecided);
  RunResults baseline = small_run();
  for (Row& row : baseline.rows) row.result.request_sha256 = std::string(64, 'c');
  CHECK_FALSE(line(summarize_against(baseline, run), "Q4_0").pooled);
}

TEST_CASE("a report says in which order options stood, and counts what was cut and what held no answer apart from what was wrong", "[summary]") {
  RunResults run = small_run();
  run.choice_seeds["sums"] = 5;
  for (Row& row : run.rows)
    if (row.kind == "accuracy") row.result.scores["truncated"] = row.result.index < 10, row.result.scores["no_answer"] = row.result.index < 20, row.result.generated_tokens = 7;
  const RunSummary summary = summarize(run);
  REQUIRE(summary.notes.size() == 1);
  CHECK_THAT(summary.notes[0], Catch::Contains("suite sums: the options of each question stand in an order drawn from seed 5"));
  const auto of_suite = results_json(summary)[0]["aggregates"];
  CHECK(of_suite["truncated"]["value"].get<double>() == Approx(0.1));
  CHECK(of_suite["no_answer"]["value"].get<double>() == Approx(0.2));
  CHECK(of_suite["output_tokens_mean"]["value"] == 7);
  CHECK(html_page(summary).find("\"output_tokens_p95\"") != std::string::npos);

  for (Row& row : run.rows) row.result.scores["accuracy_norm"] = 0.5;
  CHECK(results_json(summarize(run))[0]["aggregates"].contains("accuracy_norm"));
  run.suites[0].aggregation = {{"accuracy", "mean"}};  // its task asks for no other number
  CHECK_FALSE(results_json(summarize(run))[0]["aggregates"].contains("accuracy_norm"));
}

TEST_CASE("samples of one item are one item to intervals", "[summary]") {
  RunResults run = small_run(), sampled = small_run();
  sampled.rows.clear();
  for (const Row& row : run.rows)
    for (int sample = 0; sample < (row.suite == "sums" ? 20 : 1); ++sample) {
      sampled.rows.push_back(row);
      if (row.suite == "sums") sampled.rows.back().result.item.value += fmt::format("/sample-{}", sample);
    }
  const FormatSummary once = line(summarize(run), "Q4_0"), often = line(summarize(sampled), "Q4_0");
  CHECK(often.suites[0].items == 2000);
  CHECK(often.suites[0].accuracy.count == 100);
  CHECK(often.suites[0].accuracy.standard_error == once.suites[0].accuracy.standard_error);
  CHECK(often.pooled->areas[0].items == 100);
  CHECK(often.pooled->lost == once.pooled->lost);
  CHECK(often.pooled->difference_interval == once.pooled->difference_interval);
}

TEST_CASE("the same run compared with itself is SAME with no flips", "[summary]") {
  const RunSummary summary = summarize_against(small_run(), small_run());
  CHECK(line(summary, "Q4_0").pooled->difference == 0);
  CHECK(line(summary, "Q4_0").pooled->lost == 0);
}

TEST_CASE("the results document has one object per device, format and suite", "[export]") {
  const auto json = results_json(summarize(small_run()));
  REQUIRE(json.size() == 2);  // two formats, one suite with right answers
  const auto& q4 = json[1];
  CHECK(test::schema_violations("results", nlohmann::json::parse(json.dump())) == std::vector<std::string>{});
  CHECK(q4["energy_j_per_token"].is_null());
  CHECK(q4["accuracy"].get<double>() == Approx(0.7));
  const std::string csv = results_csv(summarize(small_run()));
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 3);
}

TEST_CASE("the terminal table fits its width by splitting, and footnotes say what is missing", "[terminal]") {
  const RunSummary summary = summarize(small_run());
  const std::string wide = terminal_table(summary, 0), narrow = terminal_table(summary, 100);
  CHECK(wide.find("Q4_0") != std::string::npos);
  CHECK(wide.find("J/token n/a: no powercap folder on this machine") != std::string::npos);
  CHECK(narrow.find("prefill t/s") > narrow.find("verdict"));
  CHECK(wide.find("−15 / +5") != std::string::npos);
}

TEST_CASE("a table says what rows of other activations pay for, and nothing of what a server does inside", "[terminal]") {
  RunResults run = small_run();
  CHECK(terminal_table(summarize(run), 0).find("the baseline ran with f32, so rows of int8 also pay for 8-bit activations\n") != std::string::npos);
  for (Row& row : run.rows) row.activations = row.format == "F16" ? "int8" : "f32";
  CHECK(terminal_table(summarize(run), 0).find("the baseline ran with int8, so rows of f32 are spared the 8-bit activations that it pays for\n") != std::string::npos);
  for (Row& row : run.rows)
    if (row.format == "Q4_0") row.engine = "vllm", row.activations = "default";
  const std::string table = terminal_table(summarize(run), 0);
  CHECK(table.find(" vllm ") != std::string::npos);
  CHECK(table.find("default") == std::string::npos);
  CHECK(table.find("act.: ") == std::string::npos);
}

TEST_CASE("the page is one file, and text of a plan cannot leave its data element", "[html]") {
  RunResults run = small_run();
  run.name = "</script><script>alert(1)</script>";
  const std::string page = html_page(summarize(run));
  CHECK(page.find("alert(1)</script>") == std::string::npos);
  CHECK(page.find("\\u003c/script>") != std::string::npos);
  CHECK(page.find("http://") == std::string::npos);  // nothing is fetched
  CHECK(page.size() > 150'000);                      // Chart.js is inside
}
