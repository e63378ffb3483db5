// Readings over the time of one lease: a thread samples every sensor at a fixed interval while a lease runs, and each series
// says how much of that time it covers. A sensor that does not exist gives a series with coverage 0 and the reason.
#pragma once

#include "agent/telemetry/sensors.h"
#include "contract/item_result.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace quantfleet::agent {

class Telemetry {
 public:
  static constexpr std::chrono::milliseconds kInterval{250};

  explicit Telemetry(std::vector<Sensor> sensors, std::chrono::milliseconds interval = kInterval);
  ~Telemetry();

  void begin();                          // a lease starts: forget earlier readings, take the first now
  std::vector<TelemetrySeries> end();    // the lease ends: take the last reading

  void sample();                         // one reading of each; the thread calls it between begin and end

 private:
  struct Readings { int tried = 0, read = 0; double sum = 0, min = 0, max = 0, first = 0, last = 0; };
  void sample_locked();

  std::mutex mutex_;                     // guards all below
  std::condition_variable_any wake_;
  std::vector<Sensor> sensors_;
  std::vector<Readings> readings_;
  bool running_ = false;
  std::jthread thread_;                  // last: stops before the rest goes
};

std::vector<Sensor> all_sensors();

}  // namespace quantfleet::agent
