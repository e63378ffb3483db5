// A fixed set of threads that share a loop. K is never split by callers (numerics.md rule 2), so results do not depend on
// the number of threads. Workers spin briefly between loops, then sleep. Every thread has a part of the loop and a cache line of its
// own; one that is done takes ranges from the parts of others.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace quantfleet {

class ThreadPool {
 public:
  // The calling thread counts as one; threads >= 1. With `pin`, worker i stays on the i-th of the processors that the process may
  // use (counted from 0, which is left to the caller; again from 0 where there are fewer); the caller is not moved.
  explicit ThreadPool(int threads, bool pin = false);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  // Calls body(begin, end, thread) over disjoint ranges that cover [0, count), each at most `grain` long, and returns when
  // all are done. Ranges are handed out dynamically, up to four at a time. body must not throw and must not call parallel_for.
  void parallel_for(std::int64_t count, std::int64_t grain,
                    const std::function<void(std::int64_t begin, std::int64_t end, int thread)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace quantfleet
