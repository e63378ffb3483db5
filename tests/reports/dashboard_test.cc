#include "tests/paths.h"
#include "reports/grafana/dashboard.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <fstream>
#include <set>
#include <sstream>

using namespace quantfleet::reports;

TEST_CASE("the dashboard in the repository is the one the program generates", "[grafana]") {
  std::ifstream in(quantfleet::test::source_dir().string() + "/reports/grafana/quantfleet.json");
  std::stringstream text;
  text << in.rdbuf();
  CHECK(text.str() == grafana_dashboard_json());
}

TEST_CASE("every panel of the dashboard has its own id, a place in the grid and a query", "[grafana]") {
  const auto dashboard = nlohmann::json::parse(grafana_dashboard_json());
  std::set<int> ids;
  for (const auto& panel : dashboard["panels"]) {
    CAPTURE(panel["title"]);
    CHECK(ids.insert(panel["id"].get<int>()).second);
    CHECK(panel["gridPos"]["x"].get<int>() + panel["gridPos"]["w"].get<int>() <= 24);
    REQUIRE(panel["targets"].size() == 1);
    CHECK(panel["datasource"]["uid"].get<std::string>().starts_with("${"));
  }
  CHECK(ids.size() >= 8);
}
