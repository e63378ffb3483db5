#include "reports/grafana/dashboard.h"

#include "contract/metric_names.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace quantfleet::reports {
namespace {

using nlohmann::ordered_json;

struct Place {
  int x, y, width, height;
};

ordered_json source(const char* type, const char* variable) { return {{"type", type}, {"uid", variable}}; }
ordered_json prometheus() { return source("prometheus", "${prometheus}"); }
ordered_json sqlite() { return source("frser-sqlite-datasource", "${results}"); }

ordered_json panel(int id, const char* title, const char* type, Place place, const char* unit, ordered_json datasource,
                   ordered_json targets) {
  ordered_json p;
  p["id"] = id;
  p["title"] = title;
  p["type"] = type;
  p["gridPos"] = {{"x", place.x}, {"y", place.y}, {"w", place.width}, {"h", place.height}};
  p["datasource"] = std::move(datasource);
  p["fieldConfig"] = {{"defaults", {{"unit", unit}}}, {"overrides", ordered_json::array()}};
  p["options"] = ordered_json::object();
  p["targets"] = std::move(targets);
  return p;
}

ordered_json query(const std::string& expression, const char* legend) {
  return ordered_json::array({{{"refId", "A"}, {"datasource", prometheus()}, {"expr", expression}, {"legendFormat", legend}}});
}

ordered_json sql(const char* text) {
  return ordered_json::array(
      {{{"refId", "A"}, {"datasource", sqlite()}, {"queryText", text}, {"rawQueryText", text}, {"queryType", "table"}}});
}

ordered_json datasource_variable(const char* name, const char* type, const char* label) {
  return {{"name", name}, {"label", label}, {"type", "datasource"}, {"query", type}, {"refresh", 1}};
}

}  // namespace

std::string grafana_dashboard_json() {
  ordered_json d;
  d["title"] = "quantfleet";
  d["uid"] = "quantfleet";
  d["schemaVersion"] = 38;
  d["version"] = 1;
  d["editable"] = true;
  d["refresh"] = "10s";
  d["time"] = {{"from", "now-24h"}, {"to", "now"}};
  d["templating"]["list"] = ordered_json::array({
      datasource_variable("prometheus", "prometheus", "Prometheus"),
      datasource_variable("results", "frser-sqlite-datasource", "Results database (SQLite)"),
      {{"name", "model"},
       {"type", "query"},
       {"datasource", prometheus()},
       {"query", fmt::format("label_values({}, model)", metric::kAccuracyRatio)},
       {"multi", true},
       {"includeAll", true},
       {"current", {{"text", "All"}, {"value", "$__all"}}},
       {"refresh", 2}},
  });
  const std::string of_model = "{model=~\"$model\"}";
  ordered_json& panels = d["panels"] = ordered_json::array();
  panels.push_back(panel(1, "Accuracy by area", "timeseries", {0, 0, 12, 9}, "percentunit", prometheus(),
                         query(fmt::format("avg by (model, format, area) ({}{})", metric::kAccuracyRatio, of_model),
                               "{{model}} {{format}} {{area}}")));
  panels.push_back(panel(2, "Decode speed by device", "timeseries", {12, 0, 12, 9}, "none", prometheus(),
                         query(fmt::format("{}{}", metric::kDecodeTokensPerSecond, of_model), "{{device}} {{model}} {{format}}")));
  panels.push_back(panel(3, "Prefill speed by device", "timeseries", {0, 9, 8, 8}, "none", prometheus(),
                         query(fmt::format("{}{}", metric::kPrefillTokensPerSecond, of_model), "{{device}} {{model}} {{format}}")));
  panels.push_back(panel(4, "Peak memory", "timeseries", {8, 9, 8, 8}, "bytes", prometheus(),
                         query(fmt::format("{}{}", metric::kPeakMemoryBytes, of_model), "{{device}} {{model}} {{format}}")));
  panels.push_back(panel(5, "Energy per token", "timeseries", {16, 9, 8, 8}, "joule", prometheus(),
                         query(fmt::format("{}{}", metric::kEnergyJoulesPerToken, of_model), "{{device}} {{model}} {{format}}")));
  panels.push_back(panel(6, "Units by state", "timeseries", {0, 17, 8, 7}, "short", prometheus(),
                         query(fmt::format("sum by (state) ({})", metric::kUnits), "{{state}}")));
  panels.push_back(panel(7, "Agents", "stat", {8, 17, 4, 7}, "short", prometheus(),
                         query(fmt::format("sum by (state) ({})", metric::kAgents), "{{state}}")));
  panels.push_back(panel(8, "Rows per second", "timeseries", {12, 17, 6, 7}, "cps", prometheus(),
                         query(fmt::format("sum by (suite) (rate({}[5m]))", metric::kRowsTotal), "{{suite}}")));
  panels.push_back(panel(9, "Leases expired and rows refused, per hour", "timeseries", {18, 17, 6, 7}, "short", prometheus(),
                         query(fmt::format("sum(increase({}[1h])) or sum(increase({}[1h]))", metric::kLeasesExpiredTotal,
                                           metric::kRowsRefusedTotal), "")));
  panels.push_back(panel(10, "Results by run, format and suite", "table", {0, 24, 24, 10}, "none", sqlite(),
                         sql("SELECT * FROM results_summary ORDER BY run DESC, model, format, suite LIMIT 500")));
  return d.dump(2) + "\n";
}

}  // namespace quantfleet::reports
