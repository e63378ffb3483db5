#include "reports/statistics/sequential.h"

#include <array>
#include <cmath>

namespace quantfleet::statistics {
namespace {

// A gambler against "the mean of x is at most m", x within -1..1: parts of the capital bet with shares of the largest stake that
// cannot lose everything, 1 / (1 + m). Larger stakes get larger parts, because they are the ones that decide clear cases soon.
class Bets {
 public:
  explicit Bets(double m) : m_(m) {
    double share = 0.99, parts = 0;
    for (std::size_t i = 0; i < kStakes; ++i, share /= std::sqrt(2.0)) {
      stake_[i] = share / (1 + m);
      capital_[i] = 1.0 / static_cast<double>(i + 1);
      parts += capital_[i];
    }
    for (double& capital : capital_) capital /= parts;
  }
  // The capital after this item; above 1e250 it stays.
  double add(double x) {
    double sum = 0;
    for (std::size_t i = 0; i < kStakes; ++i) {
      if (capital_[i] < 1e250) capital_[i] *= 1 + stake_[i] * (x - m_);
      sum += capital_[i];
    }
    return sum;
  }

 private:
  static constexpr std::size_t kStakes = 20;  // down to 0.0014 of the largest: means that take 100,000 items to tell
  double m_;
  std::array<double, kStakes> stake_, capital_;
};

bool ever_rejects(std::span<const double> x, double sign, double m, double level) {
  Bets bets(m);
  for (const double value : x)
    if (bets.add(sign * value) >= 1 / level) return true;
  return false;
}

// The largest m for which "the mean of sign x is at most m" is rejected.
double lower_bound(std::span<const double> x, double sign, double level) {
  double low = -1, high = 1;  // -1 is the least mean there is; a mean of 1 is rejected never
  for (int i = 0; i < 24; ++i) {
    const double middle = (low + high) / 2;
    (ever_rejects(x, sign, middle, level) ? low : high) = middle;
  }
  return low;
}

class Betting : public coordinator::StoppingRule::Question {
 public:
  Betting(double margin, double level) : same_(-margin), worse_(0), wanted_(1 / level) {}
  Verdict add(double difference) override {
    if (verdict_ != Verdict::kUnknown) return verdict_;
    const double shows_same = same_.add(difference), shows_worse = worse_.add(-difference);
    if (shows_same >= wanted_) verdict_ = Verdict::kSame;
    else if (shows_worse >= wanted_) verdict_ = Verdict::kWorse;
    return verdict_;
  }

 private:
  Bets same_, worse_;
  double wanted_;
  Verdict verdict_ = Verdict::kUnknown;
};

}  // namespace

SequentialVerdict sequential_verdict(std::span<const double> differences, double margin, double level) {
  Betting question(margin, level);
  for (std::size_t i = 0; i < differences.size(); ++i)
    if (const Verdict verdict = question.add(differences[i]); verdict != Verdict::kUnknown) return {verdict, i + 1};
  return {Verdict::kUnknown, differences.size()};
}

Interval sequential_interval(std::span<const double> differences, double level) {
  return {lower_bound(differences, 1, level), -lower_bound(differences, -1, level)};
}

std::unique_ptr<coordinator::StoppingRule::Question> BettingRule::ask(double margin, double level) const {
  return std::make_unique<Betting>(margin, level);
}

}  // namespace quantfleet::statistics
