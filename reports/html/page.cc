#include "reports/html/page.h"

#include "reports/tables/export.h"
#include "reports/tables/words.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace quantfleet {
extern const std::string_view kChartJs;     // generated from Debian's libjs-chart.js
extern const std::string_view kReportPage;  // generated from report.html
}  // namespace quantfleet

namespace quantfleet::reports {
namespace {

// JSON inside <script>: "<" is escaped, so that no text from a plan or an answer can end the element.
std::string for_script(std::string json) {
  std::string out;
  out.reserve(json.size());
  for (char c : json) {
    if (c == '<')
      out += "\\u003c";
    else
      out += c;
  }
  return out;
}

void replace(std::string& page, std::string_view mark, std::string_view text) {
  const std::size_t place = page.find(mark);
  if (place != std::string::npos) page.replace(place, mark.size(), text);
}

nlohmann::ordered_json page_data(const RunSummary& summary) {
  nlohmann::ordered_json data = summary_json(summary);
  data["areas"] = summary.areas;
  nlohmann::ordered_json& devices = data["devices"] = nlohmann::ordered_json::array();
  for (const DeviceFacts& d : summary.devices)
    devices.push_back({{"name", d.name}, {"cpu", d.device.cpu_model}, {"cores", d.device.cores},
                       {"memory_bytes", d.device.memory_bytes}, {"system", d.device.operating_system},
                       {"architecture", d.device.architecture}});
  nlohmann::ordered_json& suites = data["suites"] = nlohmann::ordered_json::array();
  for (const SuiteInfo& s : summary.suites)
    suites.push_back({{"name", s.name}, {"version", s.version}, {"area", s.area}, {"kind", s.kind}, {"items", s.items},
                      {"chance", s.chance}, {"sha256", s.sha256}, {"not_runnable", s.not_runnable}});
  // The word for each format, and its retention by area for the chart.
  for (std::size_t i = 0; i < summary.formats.size(); ++i) {
    data["formats"][i]["verdict"] = say_verdict(summary.formats[i]);
    if (!summary.formats[i].pooled) continue;
    nlohmann::ordered_json& areas = data["formats"][i]["areas"] = nlohmann::ordered_json::object();
    for (const auto& area : summary.formats[i].pooled->areas)
      areas[area.area] = {{"retention", area.retention ? nlohmann::ordered_json(*area.retention) : nlohmann::ordered_json(nullptr)},
                          {"low", area.retention_interval.low}, {"high", area.retention_interval.high},
                          {"lost", area.lost}, {"gained", area.gained}};
  }
  return data;
}

}  // namespace

std::string html_page(const RunSummary& summary) {
  std::string page(kReportPage);
  // The data last: nothing that a plan could contain is searched for marks again.
  replace(page, "/*CHART_JS*/", kChartJs);
  replace(page, "\"DATA\"", for_script(page_data(summary).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
  return page;
}

Result<std::filesystem::path> write_html_report(const RunSummary& summary, const std::filesystem::path& directory) {
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  if (failed) return Error{Code::kPermission, fmt::format("{}: cannot create the folder: {}", directory.string(), failed.message())};
  const std::filesystem::path target = directory / "index.html";
  const std::filesystem::path place = std::filesystem::is_symlink(target, failed) ? std::filesystem::weakly_canonical(target) : target;
  const std::filesystem::path temporary = place.string() + ".part";
  const std::string page = html_page(summary);
  std::FILE* file = std::fopen(temporary.c_str(), "wb");
  if (!file) return Error{Code::kPermission, fmt::format("{}: cannot write: {}", temporary.string(), std::strerror(errno))};
  const bool written = std::fwrite(page.data(), 1, page.size(), file) == page.size();
  const int write_errno = errno;
  if (std::fclose(file) != 0 || !written) {
    std::filesystem::remove(temporary, failed);
    return Error{write_errno == ENOSPC ? Code::kDiskFull : Code::kIo,
                 fmt::format("{}: cannot write {} bytes: {}", target.string(), page.size(), std::strerror(write_errno))};
  }
  std::filesystem::rename(temporary, place, failed);
  if (failed) return Error{Code::kIo, fmt::format("{}: cannot rename into place: {}", target.string(), failed.message())};
  return target;
}

}  // namespace quantfleet::reports
