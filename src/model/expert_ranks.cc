// Counts, rows, results: what goes where follows from the sorted rows' offsets alone.
#include "model/expert_ranks.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "model/holding.h"
#include "tensor/host_array.h"

namespace dure {
namespace {

// What one message of rows is for, in errors.
const char* rows_name(ExpertCall::Way way) {
  return way == ExpertCall::Way::kForward ? "rows for experts" : "gradients for experts";
}
const char* results_name(ExpertCall::Way way) {
  return way == ExpertCall::Way::kForward ? "results of experts" : "gradients from experts";
}

}  // namespace

struct ExpertRanks::State {
  // What a layer's forward leaves for its backward.
  struct Kept {
    int64_t first = 0;  // row in the pools
    SourcedRows rows;   // that came
  };

  ModelConfig config;
  Group* group = nullptr;
  Holding holding;         // the layers that keep rows
  bool one_layer = false;  // recomputed: only the last one's rows are kept
  int64_t row_count_max = 0;
  Arena arena;
  TensorView inputs, gate, up, h;        // pools [rows of all layers, D or I]
  TensorView arrived, leaving, dexpert;  // [rows, D], [rows, D], [rows, I]
  LowRankScratch adapter;                // [rows, R]
  std::vector<Kept> kept;                // by layer
  int64_t next_first = 0;                // row behind the last layer's
  std::vector<int64_t> offsets;          // [E + 1] of the rows at hand, on the host
  std::vector<int64_t> came;             // [ranks, E / ranks] counts
  std::vector<Source> gradients;
  HostCopy<int64_t> offset_values;
  HostCopy<float> out;
  HostLanding<float> in;
  Group::Started under_way;
  TensorView landing;  // what it brings
  ExpertRows exchanged;

  State(const ModelConfig& c, const TrainPassOptions& options, int64_t ranks, Arena a)
      : config(c), holding(options.holding), one_layer(options.recompute), arena(std::move(a)) {
    const FfnSizes sizes = sparse_sizes(c);
    row_count_max = ranks * owned_rows_max(sizes, options.rows_max, ranks);
    const int64_t d = c.hidden_size, i = sizes.expert_width,
                  layers = one_layer ? 1 : sparse_layers_before(c.layer_count());
    inputs = arena.take_f32({layers * row_count_max, d});
    for (TensorView* view : {&gate, &up, &h}) *view = arena.take_f32({layers * row_count_max, i});
    arrived = arena.take_f32({row_count_max, d});
    leaving = arena.take_f32({row_count_max, d});
    dexpert = arena.take_f32({row_count_max, i});
    if (options.adapter_rank == 0) return;
    for (TensorView* view : {&adapter.inner, &adapter.dinner})
      *view = arena.take_f32({row_count_max, options.adapter_rank});
  }

  // What the host holds beside the arena.
  void reserve(const TrainPassOptions& options, Group& ranks, Device device) {
    group = &ranks;
    const FfnSizes sizes = sparse_sizes(config);
    const int64_t n = ranks.size(), each = sizes.experts / n;
    for (int64_t layer = 0; layer < config.layer_count(); ++layer)
      kept.push_back(
          {0, config.layer(layer).sparse ? SourcedRows(n, each, device) : SourcedRows()});
    offset_values = HostCopy<int64_t>(sizes.experts + 1, device);
    const int64_t floats =
        config.hidden_size * std::max(row_count_max, options.rows_max * sizes.experts_per_token);
    out = HostCopy<float>(floats, device);
    in = HostLanding<float>(floats, device);
  }

  // Of the layers held.
  int64_t sparse_layers_before(int64_t layer) const {
    int64_t count = 0;
    for (int64_t i = 0; i < layer; ++i)
      count += holds_layer(holding, i) && config.layer(i).sparse ? 1 : 0;
    return count;
  }
  int64_t each(const ExpertCall& call) const { return call.facts.experts.count / group->size(); }
  Kept& of(const ExpertCall& call) { return kept[static_cast<size_t>(call.layer)]; }

  void read_offsets(const ExpertCall& call);
  void take_counts(const ExpertCall& call);
  void start(ConstTensorView from, std::span<const int64_t> send, TensorView to,
             std::span<const int64_t> receive, const char* what, Stream& stream);
  void finish(Stream& stream);
  std::vector<int64_t> sent_rows(const ExpertCall& call) const;
  std::vector<int64_t> come_rows(const ExpertCall& call);
  FfnActivations activations(const ExpertCall& call);
  void forward(const ExpertCall& call);
  void backward(const ExpertCall& call);
};

void ExpertRanks::State::read_offsets(const ExpertCall& call) {
  const std::span<const int64_t> values = offset_values.of(call.offsets, call.stream);
  offsets.assign(values.begin(), values.end());
}

// How many rows of each of this rank's experts come from each rank.
void ExpertRanks::State::take_counts(const ExpertCall& call) {
  std::vector<int64_t> mine(offsets.size());
  std::adjacent_difference(offsets.begin(), offsets.end(), mine.begin());
  const std::vector<int64_t> per_rank(static_cast<size_t>(group->size()), each(call));
  came.resize(static_cast<size_t>(each(call) * group->size()));
  group->all_to_all(std::span<const int64_t>(mine).subspan(1), per_rank, std::span(came), per_rank,
                    "how many rows go to which expert");
  Kept& layer = of(call);
  const bool first = one_layer || sparse_layers_before(call.layer) == 0;
  layer.first = first ? 0 : next_first;
  layer.rows.set(group->size(), each(call), came);
  next_first = layer.first + layer.rows.rows();
  const int64_t own = each(call) * group->rank();
  const int64_t kept_here =
      offsets[static_cast<size_t>(own + each(call))] - offsets[static_cast<size_t>(own)];
  exchanged.sent += offsets.back() - kept_here;
  exchanged.received += layer.rows.rows() - kept_here;
  DURE_CHECK(layer.rows.rows() <= row_count_max, "{} rows where {} were planned", layer.rows.rows(),
             row_count_max);
}

// Rows that go to each rank, and that come from it.
std::vector<int64_t> ExpertRanks::State::sent_rows(const ExpertCall& call) const {
  std::vector<int64_t> rows;
  for (int64_t r = 0; r < group->size(); ++r)
    rows.push_back(offsets[static_cast<size_t>((r + 1) * each(call))] -
                   offsets[static_cast<size_t>(r * each(call))]);
  return rows;
}

std::vector<int64_t> ExpertRanks::State::come_rows(const ExpertCall& call) {
  std::vector<int64_t> rows;
  for (int64_t r = 0; r < group->size(); ++r) rows.push_back(of(call).rows.count(r));
  return rows;
}

// send, receive: rows of each rank, side by side in `from` and `to`.
void ExpertRanks::State::start(ConstTensorView from, std::span<const int64_t> send, TensorView to,
                               std::span<const int64_t> receive, const char* what, Stream& stream) {
  const auto width = static_cast<size_t>(config.hidden_size);
  const std::span<const float> sent = out.of(from, stream);
  const std::span<float> received = in.of(to, stream);
  std::vector<Outgoing> outgoing;
  std::vector<Incoming> incoming;
  size_t send_at = 0, receive_at = 0;
  for (size_t r = 0; r < send.size(); ++r) {
    const size_t goes = static_cast<size_t>(send[r]) * width,
                 comes = static_cast<size_t>(receive[r]) * width;
    outgoing.push_back({static_cast<int>(r), std::as_bytes(sent.subspan(send_at, goes))});
    incoming.push_back(
        {static_cast<int>(r), std::as_writable_bytes(received.subspan(receive_at, comes))});
    send_at += goes;
    receive_at += comes;
  }
  landing = to;
  under_way = group->start(outgoing, incoming, what);
}

void ExpertRanks::State::finish(Stream& stream) {
  under_way.wait();
  in.taken(landing, stream);
}

FfnActivations ExpertRanks::State::activations(const ExpertCall& call) {
  const Kept& layer = of(call);
  const int64_t rows = layer.rows.rows(), width = call.facts.experts.width;
  return {rows_of_pool(gate, layer.first, rows, width), rows_of_pool(up, layer.first, rows, width),
          rows_of_pool(h, layer.first, rows, width)};
}

void ExpertRanks::State::forward(const ExpertCall& call) {
  Kept& layer = of(call);
  experts_forward(call.weights, call.facts.activation, layer.rows,
                  inputs.rows(layer.first, layer.rows.rows()), activations(call),
                  leaving.rows(0, layer.rows.rows()), {call.adapter, adapter}, call.stream);
}

void ExpertRanks::State::backward(const ExpertCall& call) {
  Kept& layer = of(call);
  const int64_t rows = layer.rows.rows();
  DURE_CHECK(std::ssize(gradients) == group->size(), "gradients of {} sources", gradients.size());
  const auto place = static_cast<size_t>(call.layer);
  std::vector<ExpertGradients> by_source;
  for (const Source& g : gradients)
    by_source.push_back(
        {&g.weights->layers[place], g.adapter != nullptr ? &g.adapter->layers[place] : nullptr});
  const ExpertViews views{.x = inputs.rows(layer.first, rows),
                          .a = activations(call),
                          .dy = arrived.rows(0, rows),
                          .dh = rows_of_pool(dexpert, 0, rows, call.facts.experts.width),
                          .dx = leaving.rows(0, rows)};
  experts_backward(call.weights, call.facts.activation, layer.rows, views, by_source,
                   {call.adapter, adapter}, call.stream);
}

ExpertRanks::ExpertRanks(const ModelConfig& config, const TrainPassOptions& options, Group& group,
                         Device device)
    : state_(std::make_unique<State>(config, options, group.size(),
                                     Arena(bytes(config, options, group.size()), device))) {
  state_->reserve(options, group, device);
}

ExpertRanks::~ExpertRanks() = default;

int64_t ExpertRanks::bytes(const ModelConfig& config, const TrainPassOptions& options,
                           int64_t ranks) {
  return State(config, options, ranks, Arena()).arena.peak_bytes();
}

void ExpertRanks::add_to(std::vector<Source> by_source) {
  state_->gradients = std::move(by_source);
}

ExpertRows ExpertRanks::exchanged() const { return state_->exchanged; }

void ExpertRanks::send(const ExpertCall& call, ConstTensorView rows) {
  State& s = *state_;
  s.read_offsets(call);
  const bool forward = call.way == ExpertCall::Way::kForward;
  if (forward) s.take_counts(call);
  const int64_t came = s.of(call).rows.rows();
  const TensorView to = forward ? s.inputs.rows(s.of(call).first, came) : s.arrived.rows(0, came);
  s.start(rows, s.sent_rows(call), to, s.come_rows(call), rows_name(call.way), call.stream);
}

void ExpertRanks::advance() { state_->under_way.advance(); }

void ExpertRanks::turn(const ExpertCall& call, TensorView results) {
  State& s = *state_;
  s.finish(call.stream);
  if (call.way == ExpertCall::Way::kForward) {
    s.forward(call);
  } else {
    s.backward(call);
  }
  s.start(s.leaving.rows(0, s.of(call).rows.rows()), s.come_rows(call), results, s.sent_rows(call),
          results_name(call.way), call.stream);
}

void ExpertRanks::receive(const ExpertCall& call) { state_->finish(call.stream); }

}  // namespace dure
