#include "agent/telemetry/telemetry.h"

#include <algorithm>

namespace quantfleet::agent {

Telemetry::Telemetry(std::vector<Sensor> sensors, std::chrono::milliseconds interval)
    : sensors_(std::move(sensors)), readings_(sensors_.size()) {
  if (interval.count() == 0) return;  // only sample() reads
  thread_ = std::jthread([this, interval](const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
      wake_.wait(lock, stop, [this] { return running_; });
      wake_.wait_for(lock, stop, interval, [this] { return !running_; });
      if (running_ && !stop.stop_requested()) sample_locked();
    }
  });
}

Telemetry::~Telemetry() = default;

void Telemetry::begin() {
  const std::lock_guard lock(mutex_);
  readings_.assign(sensors_.size(), {});
  running_ = true;
  sample_locked();
  wake_.notify_all();
}

void Telemetry::sample() {
  const std::lock_guard lock(mutex_);
  sample_locked();
}

void Telemetry::sample_locked() {
  for (std::size_t i = 0; i < sensors_.size(); ++i) {
    if (!sensors_[i].read) continue;
    Readings& r = readings_[i];
    ++r.tried;
    const std::optional<double> value = sensors_[i].read();
    if (!value) continue;
    if (r.read == 0) r.first = r.min = r.max = *value;
    ++r.read;
    r.sum += *value;
    r.min = std::min(r.min, *value);
    r.max = std::max(r.max, *value);
    r.last = *value;
  }
}

std::vector<TelemetrySeries> Telemetry::end() {
  const std::lock_guard lock(mutex_);
  sample_locked();
  running_ = false;
  wake_.notify_all();
  std::vector<TelemetrySeries> all;
  for (std::size_t i = 0; i < sensors_.size(); ++i) {
    const Sensor& sensor = sensors_[i];
    const Readings& r = readings_[i];
    TelemetrySeries series{sensor.name, sensor.source, 0, 0, 0, 0, 0, sensor.reason};
    if (r.read > 0) {
      series.coverage = static_cast<double>(r.read) / r.tried;
      if (sensor.counter) {
        series.total = r.last - r.first;
      } else {
        series.mean = r.sum / r.read;
        series.min = r.min;
        series.max = r.max;
      }
    } else if (series.reason.empty()) {
      series.reason = "the sensor stopped answering";
    }
    all.push_back(std::move(series));
  }
  return all;
}

std::vector<Sensor> all_sensors() {
  std::vector<Sensor> sensors = {cpu_temperature(), cpu_frequency(), cpu_energy()};
  std::ranges::move(gpu_sensors(), std::back_inserter(sensors));
  return sensors;
}

}  // namespace quantfleet::agent
