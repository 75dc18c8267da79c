#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#define ROW_OPS_SUPPORTED 1  // elsewhere these ops are not there, and TensorFlow's are used

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

namespace row_ops {

// Threads that take parts of a job. One job at a time: a second caller meanwhile works alone. A thread that has nothing to do looks for a while before it
// sleeps, since the next product of a decode step is a few microseconds away.
class Pool {
 public:
  // Never destroyed: its threads may outlive the caller at exit.
  static Pool &Shared() {
    static Pool *const pool = new Pool(std::max(1u, std::thread::hardware_concurrency()) - 1);
    return *pool;
  }

  // Calls part(i) for every i < parts, on this thread and on others that come in time: nobody is waited for who has not begun.
  void Run(int parts, const std::function<void(int)> &part) {
    const std::unique_lock<std::mutex> own(busy_, std::try_to_lock);
    if (!own.owns_lock() || helpers_ == 0 || parts == 1) {
      for (int i = 0; i < parts; i++) part(i);
      return;
    }
    part_ = &part;
    parts_ = parts;
    next_.store(0);
    open_.store(true);
    job_.fetch_add(1);
    if (sleeping_.load() > 0) {
      const std::lock_guard<std::mutex> lock(sleep_);
      wake_.notify_all();
    }
    TakeParts();
    open_.store(false);
    while (inside_.load() > 0) _mm_pause();
  }

 private:
  explicit Pool(unsigned helpers) : helpers_(static_cast<int>(helpers)) {
    for (unsigned i = 0; i < helpers; i++) std::thread([this] { Help(); }).detach();
  }

  void TakeParts() {
    for (int i; (i = next_.fetch_add(1)) < parts_;) (*part_)(i);
  }

  void Help() {
    for (uint64_t seen = 0;;) {
      for (int look = 0; job_.load() == seen && look < kLooks; look++) look % kPauses ? _mm_pause() : (void)sched_yield();
      if (job_.load() == seen) {
        std::unique_lock<std::mutex> lock(sleep_);
        sleeping_.fetch_add(1);
        wake_.wait(lock, [&] { return job_.load() != seen; });
        sleeping_.fetch_sub(1);
      }
      seen = job_.load();
      inside_.fetch_add(1);  // before `open_` is read: whoever closes the job afterwards waits
      if (open_.load()) TakeParts();
      inside_.fetch_sub(1);
    }
  }

  // Waking a thread takes 70 µs on the machines this was measured on: look for twice that, and let others run meanwhile.
  static constexpr int kLooks = 8000, kPauses = 16;

  const int helpers_;
  std::mutex busy_, sleep_;
  std::condition_variable wake_;
  std::atomic<uint64_t> job_{0};
  std::atomic<bool> open_{false};
  std::atomic<int> sleeping_{0}, inside_{0}, next_{0};
  const std::function<void(int)> *part_ = nullptr;
  int parts_ = 0;
};

}  // namespace row_ops
#endif
