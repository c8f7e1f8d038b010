// The first rank's side: a lock from a layer's send() to its receive(), for passes of other threads
// wait between two layers.
#include "engine/expert_front.h"

#include <algorithm>
#include <mutex>
#include <numeric>
#include <optional>

#include "base/check.h"
#include "engine/expert_rows.h"
#include "tensor/host_array.h"

namespace dure {

using expert_service::ExpertRoom;
using expert_service::Order;

Holding front_holding(int64_t ranks) { return {.expert_part = 0, .expert_parts = ranks}; }

Holding worker_holding(int64_t rank, int64_t ranks) {
  return {.embedding = false,
          .head = false,
          .mtp = true,
          .rest = false,
          .expert_part = rank,
          .expert_parts = ranks};
}

void check_expert_parts(const ModelConfig& config, int64_t ranks, const std::string& source) {
  if (const std::optional<int64_t> layer = first_uneven_layer(config, ranks))
    fail(ErrorCode::kInvalidArgument,
         "{}: layer {} has {} experts, which {} ranks cannot share evenly: start a number of "
         "ranks that divides them",
         source, *layer, config.layer(*layer).experts.count, ranks);
  if (sparse_sizes(config).experts == 0)
    fail(ErrorCode::kInvalidArgument,
         "{}: has no routed experts that {} ranks could share: start it without the launcher",
         source, ranks);
}

ExpertStatistics ExpertStatistics::operator-(const ExpertStatistics& before) const {
  return {.ranks = ranks,
          .layers = layers - before.layers,
          .rows = rows - before.rows,
          .rows_away = rows_away - before.rows_away,
          .sent_bytes = sent_bytes - before.sent_bytes,
          .received_bytes = received_bytes - before.received_bytes,
          .wait_s = wait_s - before.wait_s};
}

struct ExpertFront::State {
  const ModelConfig& config;
  Group& world;
  Group orders, rows;
  std::function<void(std::exception_ptr)> on_loss;
  int64_t ranks = 1;

  std::mutex mutex;  // a layer's
  std::unique_lock<std::mutex> layer;
  std::optional<Error> lost;
  bool ended = false;

  // Of the layer at hand.
  std::vector<int64_t> offsets;             // [E + 1]
  std::vector<std::vector<int32_t>> words;  // the order of each rank
  ConstTensorView sent;
  TensorView results;
  Group::Started ordered, sending, coming;

  ExpertRoom room;
  HostCopy<int64_t> offset_values;
  HostCopy<float> out;
  HostLanding<float> in;

  mutable std::mutex shown_mutex;
  ExpertStatistics shown;

  State(Group& w, const ModelConfig& c, const ExpertFrontOptions& options, Device device)
      : config(c),
        world(w),
        orders(expert_service::channel_of(w, expert_service::kOrders, options.limit_s)),
        rows(expert_service::channel_of(w, expert_service::kRows, options.limit_s)),
        ranks(w.size()),
        room(c, owned_rows_max(sparse_sizes(c), options.rows_max, w.size()),
             sparse_sizes(c).experts / w.size(), device) {
    const FfnSizes sizes = sparse_sizes(c);
    const int64_t all = options.rows_max * sizes.experts_per_token;
    offset_values = HostCopy<int64_t>(sizes.experts + 1, device);
    out = HostCopy<float>(all * c.hidden_size, device);
    in = HostLanding<float>(all * c.hidden_size, device);
    words.assign(static_cast<size_t>(ranks),
                 std::vector<int32_t>(static_cast<size_t>(2 + sizes.experts / ranks)));
    shown.ranks = ranks;
  }

  int64_t each(const ExpertCall& call) const { return call.facts.experts.count / ranks; }
  int64_t first(const ExpertCall& call, int64_t rank) const {
    return offsets[static_cast<size_t>(rank * each(call))];
  }
  int64_t count(const ExpertCall& call, int64_t rank) const {
    return first(call, rank + 1) - first(call, rank);
  }
  std::vector<int64_t> counts(const ExpertCall& call, int64_t rank) const;
  std::span<const int32_t> order(const ExpertCall& call, int64_t rank);
  template <typename Element>
  auto part(std::span<Element> all, const ExpertCall& call, int64_t rank) const {
    return all.subspan(static_cast<size_t>(first(call, rank) * config.hidden_size),
                       static_cast<size_t>(count(call, rank) * config.hidden_size));
  }
  void start_rows(const ExpertCall& call);
  void start_results(const ExpertCall& call);
  void show(const ExpertCall& call);

  // What throws inside loses a rank, whatever it was: the others wait for what will not come.
  template <typename Work>
  void guarded(Work&& work);
};

// Of each expert that the rank holds.
std::vector<int64_t> ExpertFront::State::counts(const ExpertCall& call, int64_t rank) const {
  std::vector<int64_t> out;
  for (int64_t e = rank * each(call); e < (rank + 1) * each(call); ++e)
    out.push_back(offsets[static_cast<size_t>(e + 1)] - offsets[static_cast<size_t>(e)]);
  return out;
}

std::span<const int32_t> ExpertFront::State::order(const ExpertCall& call, int64_t rank) {
  std::vector<int32_t>& out = words[static_cast<size_t>(rank)];
  out[0] = static_cast<int32_t>(Order::kCompute);
  out[1] = static_cast<int32_t>(call.layer);
  std::ranges::fill(out.begin() + 2, out.end(), 0);
  std::ranges::copy(counts(call, rank), out.begin() + 2);
  return out;
}

void ExpertFront::State::start_rows(const ExpertCall& call) {
  const std::span<const float> values = out.of(sent, call.stream);
  std::vector<Outgoing> to_do, with;
  for (int64_t r = 1; r < ranks; ++r) {
    if (count(call, r) == 0) continue;
    to_do.push_back({static_cast<int>(r), std::as_bytes(order(call, r))});
    with.push_back({static_cast<int>(r), std::as_bytes(part(values, call, r))});
  }
  ordered = orders.start(to_do, {}, "an order for experts");
  sending = rows.start(with, {}, "rows for experts");
}

void ExpertFront::State::start_results(const ExpertCall& call) {
  const std::span<float> values = in.of(results, call.stream);
  std::vector<Incoming> from;
  for (int64_t r = 1; r < ranks; ++r)
    from.push_back({static_cast<int>(r), std::as_writable_bytes(part(values, call, r))});
  coming = rows.start({}, from, "results of experts");
}

void ExpertFront::State::show(const ExpertCall& call) {
  const std::lock_guard lock(shown_mutex);
  ++shown.layers;
  shown.rows += offsets.back();
  shown.rows_away += offsets.back() - count(call, 0);
  shown.sent_bytes = orders.traffic().sent_bytes + rows.traffic().sent_bytes;
  shown.received_bytes = rows.traffic().received_bytes;
  shown.wait_s = orders.traffic().wait_s + rows.traffic().wait_s;
}

template <typename Work>
void ExpertFront::State::guarded(Work&& work) {
  try {
    work();
  } catch (const std::exception& error) {
    const auto* known = dynamic_cast<const Error*>(&error);
    lost.emplace(known != nullptr ? *known : Error(ErrorCode::kIo, error.what()));
    { const std::unique_lock over = std::move(layer); }
    if (on_loss) on_loss(std::current_exception());
    fail(ErrorCode::kUnavailable, "{}", lost->what());
  }
}

ExpertFront::ExpertFront(Group& world, const ModelConfig& config, const ExpertFrontOptions& options,
                         Device device, std::function<void(std::exception_ptr)> on_loss)
    : state_(std::make_unique<State>(world, config, options, device)) {
  state_->on_loss = std::move(on_loss);
  world.first_says(options.rows_max, "tokens of a pass");
}

ExpertFront::~ExpertFront() = default;

int64_t ExpertFront::bytes(const ModelConfig& config, const ExpertFrontOptions& options,
                           int64_t ranks) {
  return ExpertRoom::bytes(config, owned_rows_max(sparse_sizes(config), options.rows_max, ranks));
}

void ExpertFront::send(const ExpertCall& call, ConstTensorView rows) {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  if (s.lost) fail(ErrorCode::kUnavailable, "{}", s.lost->what());
  DURE_CHECK(!s.ended && call.way == ExpertCall::Way::kForward && call.adapter == nullptr,
             "experts that serve");
  s.layer = std::move(lock);
  s.guarded([&] {
    const std::span<const int64_t> values = s.offset_values.of(call.offsets, call.stream);
    s.offsets.assign(values.begin(), values.end());
    s.sent = rows;
    s.start_rows(call);
  });
}

void ExpertFront::advance() {
  for (Group::Started* one : {&state_->ordered, &state_->sending, &state_->coming}) one->advance();
}

void ExpertFront::turn(const ExpertCall& call, TensorView results) {
  State& s = *state_;
  s.guarded([&] {
    s.results = results;
    s.start_results(call);
    const int64_t own = s.count(call, 0);
    if (own > 0)
      s.room.compute(call.weights, call.facts, s.counts(call, 0), s.sent.rows(0, own),
                     results.rows(0, own), call.stream);
    s.ordered.wait();
    s.sending.wait();
  });
}

void ExpertFront::receive(const ExpertCall& call) {
  State& s = *state_;
  s.guarded([&] {
    s.coming.wait();
    s.in.taken(s.results, call.stream);
  });
  s.show(call);
  // Taken out first: the next pass puts its own there as soon as this one lets go.
  const std::unique_lock over = std::move(s.layer);
}

void ExpertFront::end() {
  State& s = *state_;
  const std::lock_guard lock(s.mutex);
  if (s.lost || s.ended) return;
  s.ended = true;
  for (int64_t r = 1; r < s.ranks; ++r) {
    std::vector<int32_t>& order = s.words[static_cast<size_t>(r)];
    order[0] = static_cast<int32_t>(Order::kEnd);
    s.orders.send(static_cast<int>(r), std::as_bytes(std::span(order)), "the end");
  }
}

ExpertStatistics ExpertFront::statistics() const {
  const std::lock_guard lock(state_->shown_mutex);
  return state_->shown;
}

}  // namespace dure
