// Collectives over exchange(): every pair of members at once, sums in one tree, big ones in rounds.
#include "comm/group.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <numeric>

#include "base/check.h"

namespace dure {
namespace {

template <typename T>
void add(std::span<const T> from, std::span<T> to) {
  for (size_t i = 0; i < to.size(); ++i) to[i] += from[i];
}

template <typename T>
void sum_in_tree(std::span<const std::span<T>> values) {
  const size_t count = values.size();
  for (size_t apart = 1; apart < count; apart *= 2) {
    for (size_t i = 0; i + apart < count; i += 2 * apart)
      add(std::span<const T>(values[i + apart]), values[i]);
  }
}

template <typename T>
std::span<const std::byte> bytes_of(std::span<const T> values) {
  return std::as_bytes(values);
}

std::vector<int64_t> offsets_of(std::span<const int64_t> counts) {
  std::vector<int64_t> offsets(counts.size() + 1, 0);
  std::partial_sum(counts.begin(), counts.end(), offsets.begin() + 1);
  return offsets;
}

// Elements [begin, end) of a share of `count` in this round.
struct Round {
  int64_t begin = 0, count = 0;
  Round(int64_t index, int64_t share)
      : begin(std::min(share, index * kRoundElements)),
        count(std::min(share - begin, kRoundElements)) {}
};

template <typename T>
std::span<T> part(std::span<T> all, int64_t first, int64_t count) {
  return all.subspan(static_cast<size_t>(first), static_cast<size_t>(count));
}

}  // namespace

void tree_sum(std::span<const std::span<float>> values) { sum_in_tree(values); }
void tree_sum(std::span<const std::span<double>> values) { sum_in_tree(values); }
void tree_sum(std::span<const std::span<int64_t>> values) { sum_in_tree(values); }

Traffic& Traffic::operator+=(const Traffic& other) {
  sent_bytes += other.sent_bytes;
  received_bytes += other.received_bytes;
  messages += other.messages;
  wait_s += other.wait_s;
  return *this;
}

Group& Group::alone() {
  static Group group;
  return group;
}

Group::Group(Transport& transport, std::vector<int> members, int channel, double limit_s)
    : transport_(&transport), members_(std::move(members)), channel_(channel), limit_s_(limit_s) {
  const auto me = std::ranges::find(members_, transport.rank());
  DURE_CHECK(me != members_.end(), "rank {} is not in its group", transport.rank());
  rank_ = static_cast<int>(me - members_.begin());
}

std::string Group::name_of(int rank) const {
  if (transport_ == nullptr) return "the one rank";
  return rank_name(*transport_, members_[static_cast<size_t>(rank)]);
}

std::string Group::where(std::string_view what) const {
  return place_.empty() ? std::string(what) : fmt::format("{}, {}", place_, what);
}

void Group::exchange(std::span<const Outgoing> out, std::span<const Incoming> in,
                     std::string_view what) {
  start(out, in, what).wait();
}

// What goes to oneself is there at once.
Group::Started Group::start(std::span<const Outgoing> out, std::span<const Incoming> in,
                            std::string_view what) {
  std::vector<Outgoing> sent;
  std::vector<Incoming> received;
  std::vector<std::span<const std::byte>> mine;
  for (const Outgoing& o : out) {
    if (o.to == rank_) mine.push_back(o.bytes);
    if (o.to == rank_ || o.bytes.empty()) continue;
    sent.push_back({members_[static_cast<size_t>(o.to)], o.bytes});
    traffic_.sent_bytes += std::ssize(o.bytes);
    ++traffic_.messages;
  }
  size_t next = 0;
  for (const Incoming& i : in) {
    if (i.from == rank_) {
      DURE_CHECK(next < mine.size() && mine[next].size() == i.bytes.size(), "to oneself");
      if (!i.bytes.empty()) std::memmove(i.bytes.data(), mine[next].data(), i.bytes.size());
      ++next;
    } else if (!i.bytes.empty()) {
      received.push_back({members_[static_cast<size_t>(i.from)], i.bytes});
      traffic_.received_bytes += std::ssize(i.bytes);
    }
  }
  Started started;
  if (transport_ == nullptr || (sent.empty() && received.empty())) return started;
  started.group_ = this;
  started.where_ = where(what);
  started.underway_ = transport_->start(channel_, sent, received);
  return started;
}

void Group::Started::advance() {
  if (underway_) underway_->advance();
}

bool Group::Started::look() {
  return !underway_ || underway_->look({.what = where_, .limit_s = group_->limit_s_});
}

void Group::Started::wait() {
  if (!underway_) return;
  const auto start = std::chrono::steady_clock::now();
  underway_->wait({.what = where_, .limit_s = group_->limit_s_});
  underway_.reset();
  group_->add_wait(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

void Group::barrier() { any(false, "barrier"); }

template <typename T>
void Group::all_to_all(std::span<const T> send, std::span<const int64_t> send_counts,
                       std::span<T> receive, std::span<const int64_t> receive_counts,
                       std::string_view what) {
  DURE_CHECK(std::ssize(send_counts) == size() && std::ssize(receive_counts) == size(), "{} and {}",
             send_counts.size(), receive_counts.size());
  std::vector<Outgoing> out;
  std::vector<Incoming> in;
  int64_t sent = 0, received = 0;
  for (int r = 0; r < size(); ++r) {
    const auto i = static_cast<size_t>(r);
    out.push_back({r, bytes_of(part(send, sent, send_counts[i]))});
    in.push_back({r, std::as_writable_bytes(part(receive, received, receive_counts[i]))});
    sent += send_counts[i];
    received += receive_counts[i];
  }
  exchange(out, in, what);
}

// Round after round, so that what arrives needs room for one round of each member.
template <typename T>
void Group::reduce_scatter(std::span<const T> values, std::span<const int64_t> counts,
                           const TakePart<T>& take, std::string_view what) {
  DURE_CHECK(std::ssize(counts) == size(), "{} shares for {} ranks", counts.size(), size());
  const std::vector<int64_t> offsets = offsets_of(counts);
  const int64_t mine = counts[static_cast<size_t>(rank_)];
  const int64_t most = *std::ranges::max_element(counts);
  std::vector<std::vector<T>> arrived(members_.size());
  for (int64_t r = 0; r * kRoundElements < most; ++r) {
    const Round here(r, mine);
    std::vector<Outgoing> out;
    std::vector<Incoming> in;
    std::vector<std::span<T>> sums(members_.size());
    for (int m = 0; m < size(); ++m) {
      const auto i = static_cast<size_t>(m);
      const Round there(r, counts[i]);
      out.push_back({m, bytes_of(part(values, offsets[i] + there.begin, there.count))});
      arrived[i].resize(static_cast<size_t>(here.count));
      sums[i] = arrived[i];
      in.push_back({m, std::as_writable_bytes(sums[i])});
    }
    exchange(out, in, what);
    sum_in_tree(std::span<const std::span<T>>(sums));
    if (here.count > 0) take(here.begin, sums[0]);
  }
}

template <typename T>
void Group::reduce_scatter(std::span<const T> values, std::span<const int64_t> counts,
                           std::span<T> own, std::string_view what) {
  const TakePart<T> take = [&](int64_t first, std::span<const T> sums) {
    std::ranges::copy(sums, part(own, first, std::ssize(sums)).begin());
  };
  reduce_scatter(values, counts, take, what);
}

template <typename T>
void Group::all_gather(std::span<const T> own, std::span<const int64_t> counts,
                       const TakeShare<T>& take, std::string_view what) {
  const int64_t most = *std::ranges::max_element(counts);
  std::vector<std::vector<T>> arrived(members_.size());
  for (int64_t r = 0; r * kRoundElements < most; ++r) {
    const Round here(r, std::ssize(own));
    std::vector<Outgoing> out;
    std::vector<Incoming> in;
    for (int m = 0; m < size(); ++m) {
      if (m == rank_) continue;
      const auto i = static_cast<size_t>(m);
      out.push_back({m, bytes_of(part(own, here.begin, here.count))});
      arrived[i].resize(static_cast<size_t>(Round(r, counts[i]).count));
      in.push_back({m, std::as_writable_bytes(std::span(arrived[i]))});
    }
    exchange(out, in, what);
    for (int m = 0; m < size(); ++m) {
      const auto i = static_cast<size_t>(m);
      if (m != rank_ && !arrived[i].empty())
        take(m, Round(r, counts[i]).begin, std::span<const T>(arrived[i]));
    }
  }
}

template <typename T>
void Group::all_gather(std::span<const T> own, std::span<const int64_t> counts, std::span<T> all,
                       std::string_view what) {
  DURE_CHECK(std::ssize(counts) == size(), "{} shares for {} ranks", counts.size(), size());
  const std::vector<int64_t> offsets = offsets_of(counts);
  std::vector<Outgoing> out;
  std::vector<Incoming> in;
  for (int m = 0; m < size(); ++m) {
    const auto i = static_cast<size_t>(m);
    out.push_back({m, bytes_of(own)});
    in.push_back({m, std::as_writable_bytes(part(all, offsets[i], counts[i]))});
  }
  exchange(out, in, what);
}

// Every member sums its share and tells the others: few values are cheaper told by all to all.
template <typename T>
void Group::all_reduce(std::span<T> values, std::string_view what) {
  if (size() == 1) return;
  const std::vector<int64_t> counts(members_.size(), std::ssize(values));
  std::vector<T> all(values.size() * members_.size());
  all_gather(std::span<const T>(values), counts, std::span(all), what);
  std::vector<std::span<T>> parts;
  for (size_t m = 0; m < members_.size(); ++m)
    parts.push_back(std::span(all).subspan(m * values.size(), values.size()));
  sum_in_tree(std::span<const std::span<T>>(parts));
  std::ranges::copy(parts[0], values.begin());
}

std::vector<std::string> Group::all_gather_text(std::string_view own, std::string_view what) {
  const int64_t size_here = std::ssize(own);
  std::vector<int64_t> sizes(members_.size());
  const std::vector<int64_t> one(members_.size(), 1);
  all_gather(std::span(&size_here, 1), one, std::span(sizes), what);
  std::vector<char> all(static_cast<size_t>(std::reduce(sizes.begin(), sizes.end())));
  all_gather(std::span<const char>(own.data(), own.size()), sizes, std::span(all), what);
  std::vector<std::string> texts;
  auto from = all.begin();
  for (const int64_t s : sizes) {
    texts.emplace_back(from, from + s);
    from += s;
  }
  return texts;
}

void Group::send(int to, std::span<const std::byte> bytes, std::string_view what) {
  const Outgoing out{to, bytes};
  exchange({&out, 1}, {}, what);
}

void Group::receive(int from, std::span<std::byte> bytes, std::string_view what) {
  const Incoming in{from, bytes};
  exchange({}, {&in, 1}, what);
}

void Group::post(int to, std::vector<std::byte> bytes) {
  DURE_CHECK(to != rank_ && !bytes.empty(), "{} bytes to {}", bytes.size(), to);
  traffic_.sent_bytes += std::ssize(bytes);
  ++traffic_.messages;
  transport_->post(channel_, members_[static_cast<size_t>(to)], std::move(bytes));
}

void Group::agree(const std::string& failure, ErrorCode code, std::string_view what) {
  if (size() == 1) {
    if (!failure.empty()) throw Error(code, failure);
    return;
  }
  const std::string mine =
      failure.empty() ? "" : fmt::format("{}{}", static_cast<char>(code), failure);
  const auto all = all_gather_text(mine, what);
  for (int m = 0; m < size(); ++m) {
    const std::string& said = all[static_cast<size_t>(m)];
    if (!said.empty())
      throw RankFailure(static_cast<ErrorCode>(said[0]), members_[static_cast<size_t>(m)],
                        /*heard=*/false, fmt::format("{}: {}", name_of(m), said.substr(1)));
  }
}

bool Group::any(bool mine, std::string_view what) {
  int64_t count = mine ? 1 : 0;
  all_reduce(std::span(&count, 1), what);
  return count > 0;
}

int64_t Group::first_says(int64_t mine, std::string_view what) {
  int64_t value = is_first() ? mine : 0;
  all_reduce(std::span(&value, 1), what);
  return value;
}

void require_alike(Group& group, std::string_view name, std::string_view mine,
                   std::string_view hint) {
  if (group.size() == 1) return;
  const auto all = group.all_gather_text(mine, name);
  for (int m = 1; m < group.size(); ++m) {
    const std::string& said = all[static_cast<size_t>(m)];
    if (said == all[0]) continue;
    fail(ErrorCode::kInvalidArgument, "{} differs between ranks: {} has {}, {} has {}; {}", name,
         group.name_of(0), all[0], group.name_of(m), said, hint);
  }
}

#define DURE_COLLECTIVES(T)                                                                       \
  template void Group::all_reduce(std::span<T>, std::string_view);                                \
  template void Group::reduce_scatter(std::span<const T>, std::span<const int64_t>, std::span<T>, \
                                      std::string_view);                                          \
  template void Group::reduce_scatter(std::span<const T>, std::span<const int64_t>,               \
                                      const TakePart<T>&, std::string_view);                      \
  template void Group::all_gather(std::span<const T>, std::span<const int64_t>,                   \
                                  const TakeShare<T>&, std::string_view);                         \
  template void Group::all_gather(std::span<const T>, std::span<const int64_t>, std::span<T>,     \
                                  std::string_view);                                              \
  template void Group::all_to_all(std::span<const T>, std::span<const int64_t>, std::span<T>,     \
                                  std::span<const int64_t>, std::string_view);
DURE_COLLECTIVES(float)
DURE_COLLECTIVES(double)
DURE_COLLECTIVES(int32_t)
DURE_COLLECTIVES(int64_t)
DURE_COLLECTIVES(char)
#undef DURE_COLLECTIVES

}  // namespace dure
