#include "coordinator/http/api.h"
#include "coordinator/store/results_reader.h"
#include "coordinator/store/store.h"
#include "tests/paths.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <sqlite3.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

using namespace quantfleet;
using namespace quantfleet::coordinator;

namespace {

struct Lab {
  std::filesystem::path root = made(std::filesystem::temp_directory_path() / ("quantfleet-api-" + std::to_string(::getpid())));
  static std::filesystem::path made(const std::filesystem::path& folder) {
    std::filesystem::create_directories(folder);
    return folder;
  }
  ~Lab() { std::filesystem::remove_all(root); }
  std::unique_ptr<Store> store = open_sqlite_store(root / "r.db", false).value();
  std::unique_ptr<ArtifactDirectory> artifacts = ArtifactDirectory::open(root / "artifacts").value();
  Coordinator core{Options{}};
  Time now{std::chrono::milliseconds(1'700'000'000'000)};
  Api api{[this](const auto& body) {
            Decision decision;
            body(core, now, decision);
            store->apply(decision.write);
          },
          *artifacts, root / "r.db", "secret"};

  HttpResponse ask(std::string method, std::string path, std::string body = "", std::string token = "secret") {
    return api.handle({std::move(method), std::move(path), "application/yaml", "Bearer " + token, std::move(body)});
  }
  void agent_registers() {
    Register registration;
    registration.name = "desk";
    registration.device.host_id = "h";
    registration.formats = {"F16"};
    registration.suites = {{"math", "1", std::string(64, '1'), "math", "generate", 10, 0, "", {{"accuracy", "mean"}, {"pass@10", "mean"}}}};
    store->apply(core.on({std::string(40, 'k')}, registration, false, now).write);
  }
};

}  // namespace

TEST_CASE("the API takes a plan with the token, shows its run, and cancels it", "[api]") {
  Lab lab;
  const std::string model = "weights";
  const std::string hash = sha256_hex(model);
  const std::string plan = "name: p\nmodels: [{name: m, sha256: " + hash + "}]\nformats: [F16]\nsuites: [math]\n";
  CHECK(lab.ask("POST", "/api/runs", plan, "guess").status == 401);
  CHECK_THAT(lab.ask("POST", "/api/runs", plan).body, Catch::Contains("is not here yet"));
  REQUIRE(lab.api.upload("w", hash, 0, model.size(), model).status == 201);
  CHECK(lab.ask("POST", "/api/runs", plan).status == 503);  // no agent yet
  lab.agent_registers();
  CHECK_THAT(lab.ask("POST", "/api/runs", "name: [").body, Catch::Contains("plan:1"));
  const HttpResponse created = lab.ask("POST", "/api/runs", plan);
  REQUIRE(created.status == 201);
  const std::string run = nlohmann::json::parse(created.body)["run"];
  const auto shown = nlohmann::json::parse(lab.ask("GET", "/api/runs/" + run).body);
  CHECK(shown["status"] == "running");
  CHECK(shown["units"]["leased"] == 1);
  CHECK(shown["suites"][0]["aggregation"] == nlohmann::json{{"accuracy", "mean"}, {"pass@10", "mean"}});
  CHECK(nlohmann::json::parse(lab.ask("GET", "/api/devices").body)["devices"][0]["state"] == "running");
  CHECK_THAT(lab.ask("GET", "/metrics").body, Catch::Contains("quantfleet_units{state=\"leased\",kind=\"quantize\"} 1"));
  CHECK(nlohmann::json::parse(lab.ask("POST", "/api/runs/" + run + "/cancel").body)["status"] == "cancelled");
  CHECK(nlohmann::json::parse(lab.ask("GET", "/api/runs/latest").body)["status"] == "cancelled");
  CHECK(nlohmann::json::parse(lab.ask("POST", "/api/runs", plan).body)["same_plan_as"][0] == run);
  CHECK(lab.ask("GET", "/api/runs/nobody").status == 404);
  CHECK(lab.ask("GET", "/api/nothing").status == 404);
  CHECK(lab.ask("DELETE", "/api/runs").status == 400);
}

TEST_CASE("a file that is no results database is refused in a sentence", "[store]") {
  Lab lab;
  CHECK(open_results(lab.root / "absent.db").error().code == Code::kNotFound);
  FILE* file = std::fopen((lab.root / "text.db").c_str(), "w");
  std::fputs("this is not a database, but long enough to be looked at", file);
  std::fclose(file);
  CHECK_THAT(open_sqlite_store(lab.root / "text.db").error().detail, Catch::Contains("text.db"));
  CHECK_THAT(open_results(lab.root / "text.db").error().detail, Catch::Contains("text.db"));
}

TEST_CASE("results of older programs are read, their file left as it is; only a coordinator upgrades it", "[store]") {
  for (const int version : {1, 2}) {
    INFO(version);
    Lab lab;
    const std::filesystem::path path = lab.root / "old.db";
    std::string sql = "PRAGMA application_id=1902537844; PRAGMA user_version=" + std::to_string(version) + ";";
    for (const char* migration : {"0001_jobs.sql", "0002_kv.sql"}) {
      std::ifstream file(test::source_dir() / "coordinator/store/migrations" / migration);
      sql += std::string{std::istreambuf_iterator<char>(file), {}};
      if (version == 1) break;
    }
    JobSpec plan;
    plan.name = "n", plan.models = {{"m", "", std::string(64, 'a')}}, plan.formats = {"F16"}, plan.baseline = "F16", plan.suites = {{"s"}};
    AccuracyWork asked;
    asked.model_sha256 = std::string(64, 'a'), asked.format = "F16", asked.activations = "f32", asked.suite = "s", asked.item_end = 1;
    nlohmann::json work = nlohmann::json::parse(encode(Work{asked}));  // as that program wrote it
    for (const char* newer : {"choice_seed", "suite_bundle_sha256", "needs_sandbox", "lora", "engine", "token_probes_sha256"}) REQUIRE(work.erase(newer) == 1);
    if (version == 1) work.erase("kv");
    const auto unit = [&](const std::string& id, int ordinal, const std::string& state, const std::string& finished) {
      return "INSERT INTO units (unit_id, run_id, ordinal, kind, purpose, model, format, activations, suite, suite_sha256, host_id, work, items,"
             " attempts_max, lease_seconds, seed, state, epoch, attempts, queued_since, finished_at) VALUES ('" + id + "', 'r', " + std::to_string(ordinal) +
             ", 'accuracy', 'measure', 'm', 'F16', 'f32', 's', '', '', '" + work.dump() + "', 1, 3, 60, 0, '" + state + "', 1, 1, 1, " + finished + ");";
    };
    sql += "INSERT INTO runs VALUES ('r', 'n', '" + canonical_json(plan) + "', hex(zeroblob(32)), 1, 0);"
           "INSERT INTO agents VALUES ('a', 'desk', 'h', 'desk', 'cpu', '1', '{}', 1);"
         + unit("u", 0, "done", "2") + unit("w", 1, "queued", "NULL") +
           "INSERT INTO leases (unit_id, epoch, agent_id, host_id, granted_at, ended_at, outcome) VALUES ('u', 1, 'a', 'h', 1, 2, 'done');"
           "INSERT INTO results VALUES ('u', 'item', 0, 1, '{\"accuracy\":1}', '{}', 7, 1, 0, 0, x'41', '', NULL, NULL);";
    sqlite3* database = nullptr;
    REQUIRE(sqlite3_open(path.c_str(), &database) == SQLITE_OK);
    REQUIRE(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(database);
    const auto bytes = [&] {
      std::ifstream file(path, std::ios::binary);
      return std::string{std::istreambuf_iterator<char>(file), {}};
    };
    const auto check = [&] {
      const auto read = open_results(path).value()->read_run({"r"}).value();
      REQUIRE(read.rows.size() == 1);
      CHECK(read.rows[0].item.scores.at("accuracy") == 1);
      CHECK(read.rows[0].item.output == "A");
      CHECK(read.rows[0].item.response.empty());
      CHECK(read.units[0].kv == "f32");
    };
    const std::string before = bytes();
    check();
    CHECK(bytes() == before);
    {
      const Snapshot found = open_sqlite_store(path, false).value()->load();
      REQUIRE(found.units.size() == 2);
      CHECK(std::get<AccuracyWork>(found.units[1].work) == asked);
    }
    CHECK(bytes() != before);
    check();

    REQUIRE(sqlite3_open(path.c_str(), &database) == SQLITE_OK);
    REQUIRE(sqlite3_exec(database, "PRAGMA user_version=99", nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(database);
    CHECK_THAT(open_results(path).error().detail, Catch::Contains("old.db") && Catch::Contains("schema version 99") && Catch::Contains("newer"));
  }
}
