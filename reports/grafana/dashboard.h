// A Grafana dashboard (schema of Grafana 10) over the coordinator's Prometheus metrics and the SQL views of the results
// database. Generated from contract/metric_names.h, so a renamed metric cannot leave a dead panel.
#pragma once

#include <string>

namespace quantfleet::reports {

std::string grafana_dashboard_json();

}  // namespace quantfleet::reports
