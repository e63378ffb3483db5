#include "coordinator/http/api.h"
#include "coordinator/store/results_reader.h"
#include "coordinator/store/store.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <unistd.h>

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
    registration.suites = {{"math", "1", std::string(64, '1'), "math", "generate", 10, 0, ""}};
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
