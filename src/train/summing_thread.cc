// What goes and what comes, each in its order, looked at in turn.
#include "train/summing_thread.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace dure {
namespace {

// Sent at a time to each member.
constexpr size_t kRoundsUnderWay = 2;
// What an end is waited for that all members reach: they failed alike, and nothing is missing.
constexpr auto kCommonEnd = std::chrono::seconds(2);
// Between two looks, while the processor is others' and while somebody waits.
constexpr auto kPatient = std::chrono::microseconds(200), kAwaited = std::chrono::microseconds(20);

int64_t bytes_of(std::span<const float> values) {
  return static_cast<int64_t>(values.size_bytes());
}

void add_rounds(std::span<float> part, std::deque<std::span<float>>& rounds) {
  while (!part.empty()) {
    const size_t count = std::min(part.size(), static_cast<size_t>(kRoundElements));
    rounds.push_back(part.first(count));
    part = part.subspan(count);
  }
}

}  // namespace

SummingThread::SummingThread(Group& group)
    : group_(group), peers_(static_cast<size_t>(group.size())) {}

SummingThread::~SummingThread() {
  if (!thread_.joinable()) return;
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kCommonEnd, [this] { return !busy_ || failure_; });
  lock.unlock();
  thread_ = {};
}

void SummingThread::hand_over(std::vector<std::span<float>> parts) {
  const std::lock_guard lock(mutex_);
  handed_.push_back(std::move(parts));
  busy_ = true;
  if (group_.any_thread() && !thread_.joinable())
    thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
  changed_.notify_all();
}

void SummingThread::finish() {
  const auto start = std::chrono::steady_clock::now();
  awaited_ = true;
  if (!thread_.joinable()) {
    sum_all({});
    busy_ = false;
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !busy_ || failure_; });
  awaited_ = false;
  if (failure_) std::rethrow_exception(failure_);
  group_.add_wait(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

void SummingThread::work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return busy_; })) {
    lock.unlock();
    std::exception_ptr failure;
    try {
      sum_all(stop);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    failure_ = failure;
    busy_ = failure != nullptr || !handed_.empty();
    changed_.notify_all();
    if (failure != nullptr || stop.stop_requested()) return;
  }
}

void SummingThread::sum_all(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    {
      const std::lock_guard lock(mutex_);
      for (; !handed_.empty(); handed_.pop_front()) take(handed_.front());
    }
    if (is_idle()) return;
    if (!step()) std::this_thread::sleep_for(awaited_ ? kAwaited : kPatient);
  }
}

void SummingThread::take(const std::vector<std::span<float>>& parts) {
  for (int m = 0; m < group_.size(); ++m) {
    const auto i = static_cast<size_t>(m);
    add_rounds(parts[i], m == group_.rank() ? to_receive_ : peers_[i].to_send);
  }
}

bool SummingThread::is_idle() const {
  return to_receive_.empty() && std::ranges::all_of(peers_, [](const Peer& peer) {
           return peer.to_send.empty() && peer.sending.empty();
         });
}

// Whether anything moved.
bool SummingThread::step() {
  bool moved = step_receiving();
  for (int m = 0; m < group_.size(); ++m) moved |= step_sending(m);
  return moved;
}

bool SummingThread::step_sending(int to) {
  Peer& peer = peers_[static_cast<size_t>(to)];
  bool moved = false;
  while (!peer.sending.empty() && peer.sending.front().first.look()) {
    peer.sending.front().first.wait();
    bytes_ += peer.sending.front().second;
    peer.sending.pop_front();
    moved = true;
  }
  while (!peer.to_send.empty() && peer.sending.size() < kRoundsUnderWay) {
    const std::span<const float> round = peer.to_send.front();
    const Outgoing out{to, std::as_bytes(round)};
    peer.sending.emplace_back(group_.start({&out, 1}, {}, "sum of gradients"), bytes_of(round));
    peer.to_send.pop_front();
    moved = true;
  }
  return moved;
}

bool SummingThread::step_receiving() {
  if (to_receive_.empty()) return false;
  if (!receiving_) {
    begin_receiving();
    return true;
  }
  if (!receiving_->look()) return false;
  receiving_->wait();
  receiving_.reset();
  add_up();
  return true;
}

void SummingThread::begin_receiving() {
  std::vector<Incoming> in;
  for (int m = 0; m < group_.size(); ++m) {
    if (m == group_.rank()) continue;
    std::vector<float>& arrived = peers_[static_cast<size_t>(m)].arrived;
    arrived.resize(to_receive_.front().size());
    in.push_back({m, std::as_writable_bytes(std::span(arrived))});
  }
  receiving_ = group_.start({}, in, "sum of gradients");
}

void SummingThread::add_up() {
  const std::span<float> own = to_receive_.front();
  std::vector<std::span<float>> values;
  for (int m = 0; m < group_.size(); ++m)
    values.push_back(m == group_.rank() ? own : std::span(peers_[static_cast<size_t>(m)].arrived));
  tree_sum(std::span<const std::span<float>>(values));
  if (group_.rank() != 0) std::ranges::copy(values[0], own.begin());
  bytes_ += bytes_of(own) * (group_.size() - 1);
  to_receive_.pop_front();
}

}  // namespace dure
