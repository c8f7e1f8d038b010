// Values and gradients against the double twin and its finite differences; and the bitwise
// promises.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include "model/model_fixture.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

using namespace testing_model;

constexpr double kEpsilon = 0x1p-24;  // half a unit in the last place of f32

struct Model {
  Parameters parameters;
  ModelWeights weights;
  explicit Model(const ModelConfig& config, uint64_t seed = 7) : parameters(config), weights() {
    randomise(parameters, seed);
    CpuStream binding(1);
    weights = bind_weights(parameters, binding);
  }
};

std::vector<float> copy(TensorView view) { return {view.f32(), view.f32() + view.elements()}; }

// One pass: losses and all gradients, as plain vectors.
struct PassOutcome {
  LossResult result;
  std::vector<float> gradients, log_probability, hidden;
};

PassOutcome run_pass(const Model& model, const Batch& batch, TrainPassOptions pass_options,
                     const LossOptions& options, int threads, bool two_phase = false,
                     const std::set<TensorRole>& frozen = {}) {
  CpuStream stream(threads);
  if (pass_options.rows_max == 0) pass_options.rows_max = static_cast<int64_t>(batch.ids.size());
  TrainPass pass(model.weights.config, pass_options);
  Parameters gradients(model.weights.config);
  ModelGradients places = gradients.by_place();
  visit_tensors(model.weights.config, places, [&](const ImpliedTensor& tensor, TensorView& field) {
    if (frozen.contains(tensor.id.role)) field = {};
  });
  pass.forward(model.weights, batch.input(), stream);
  PassOutcome out;
  out.hidden = copy(pass.hidden());
  if (two_phase) pass.token_log_probabilities(true, stream);
  out.result = pass.backward(options, places, stream);
  out.gradients = copy(gradients.flat());
  out.log_probability.assign(pass.log_probability().begin(), pass.log_probability().end());
  return out;
}

double largest(const ref::Rows& rows) {
  double out = 0;
  for (const ref::Row& row : rows) {
    for (const double value : row) out = std::max(out, std::abs(value));
  }
  return out;
}

// The largest |got - wanted| in units of the largest |wanted|.
double difference(TensorView got, const ref::Rows& wanted) {
  double worst = 0;
  const int64_t width = got.elements() / got.dim(0);
  for (size_t t = 0; t < wanted.size(); ++t) {
    for (size_t i = 0; i < wanted[t].size(); ++i) {
      worst = std::max(
          worst,
          std::abs(static_cast<double>(
                       got.f32()[static_cast<int64_t>(t) * width + static_cast<int64_t>(i)]) -
                   wanted[t][i]));
    }
  }
  return worst / largest(wanted);
}

// A bound for values that went through `layers` layers: each adds a few roundings of sums of tens
// of terms, and the residual stream carries them on; 64 roundings a layer is above what any order
// of those sums can lose in practice.
double value_bound(const ModelConfig& config) {
  return kEpsilon * 64 * static_cast<double>(config.layer_count() + 1);
}

class ModelTest : public ::testing::TestWithParam<int> {
 protected:
  ModelConfig config() const {
    constexpr std::array kConfigs = {tiny_k1,    tiny_k2,    tiny_exaone4,
                                     tiny_mixed, tiny_qwen3, tiny_gptoss};
    return kConfigs.at(static_cast<size_t>(GetParam()))();
  }
  Batch batch() const { return random_batch(config(), {7, 1, 5, 2}, 3); }
  LossOptions all_losses() const { return {.mtp_coefficient = 0.3, .balance_coefficient = 0.05}; }
};

TEST_P(ModelTest, EqualsTheDoubleTwin) {
  const Model model(config());
  const Batch b = batch();
  const ref::RefOutput wanted = ref::run_model(config(), widen(model.parameters), ref_input(b));
  CpuStream stream(1);
  TrainPass pass(config(), {.rows_max = 32});
  pass.forward(model.weights, b.input(), stream);
  const double bound = value_bound(config());
  for (int64_t i = 0; i < config().layer_count(); ++i) {
    EXPECT_LT(difference(pass.activations().layer(i).x, wanted.hidden[static_cast<size_t>(i)]),
              bound)
        << "layer " << i;
    if (!config().layers[static_cast<size_t>(i)].sparse) continue;
    const MoeActivations& moe = pass.activations().layer(i).moe;
    const ref::RefRouting& routing = wanted.routing.at(i);
    EXPECT_LT(difference(moe.probabilities, routing.probabilities), bound);
    EXPECT_LT(difference(moe.weights, routing.weights), bound);
    size_t next = 0;
    for (const auto& row : routing.experts) {
      for (const int expert : row) EXPECT_EQ(moe.experts.i32()[next++], expert);
    }
  }
  EXPECT_LT(difference(pass.hidden(), wanted.final_hidden), bound);
  Buffer logits =
      Buffer::of(DType::kF32, {static_cast<int64_t>(b.ids.size()), config().vocab_size});
  const TensorView view =
      logits.view(DType::kF32, {static_cast<int64_t>(b.ids.size()), config().vocab_size});
  head_logits(model.weights, pass.hidden(), view, stream);
  EXPECT_LT(difference(view, wanted.logits), bound);
}

TEST_P(ModelTest, LossesEqualTheTwin) {
  const Model model(config());
  const Batch b = batch();
  ref::RefInput input = ref_input(b);
  input.mtp_coefficient = all_losses().mtp_coefficient;
  input.balance_coefficient = all_losses().balance_coefficient;
  const ref::RefOutput wanted = ref::run_model(config(), widen(model.parameters), input);
  for (const bool recompute : {false, true}) {
    CpuStream stream(1);
    TrainPass pass(config(), {.rows_max = 15, .recompute = recompute});
    pass.forward(model.weights, b.input(), stream);
    LossOptions options = all_losses();
    options.want_entropy = true;
    const LossResult& got = pass.losses(options, stream);
    const double bound = value_bound(config());
    EXPECT_EQ(got.valid, wanted.valid);
    EXPECT_EQ(got.mtp_valid, wanted.mtp_valid);
    EXPECT_EQ(count_targets(b.input()).valid, wanted.valid);
    EXPECT_EQ(count_targets(b.input()).mtp_valid, wanted.mtp_valid);
    EXPECT_NEAR(got.loss_sum, wanted.loss_sum, bound * wanted.loss_sum);
    EXPECT_NEAR(got.mtp_loss_sum, wanted.mtp_loss_sum, bound * wanted.mtp_loss_sum);
    EXPECT_NEAR(got.balance_loss, wanted.balance_loss, bound * wanted.balance_loss);
    for (size_t t = 0; t < b.ids.size(); ++t) {
      EXPECT_NEAR(pass.log_probability()[t], wanted.log_probability[t], bound * 8);
      if (b.targets[t] == kIgnore) continue;
      double entropy = 0, sum = 0;
      for (const double logit : wanted.logits[t]) sum += std::exp(logit);
      for (const double logit : wanted.logits[t])
        entropy -= std::exp(logit) / sum * (logit - std::log(sum));
      EXPECT_NEAR(pass.entropy()[t], entropy, bound * 8);
    }
    for (const auto& [layer, routing] : wanted.routing) {
      if (layer < 0) continue;
      std::vector<int64_t> counts(static_cast<size_t>(config().layer(layer).experts.count));
      for (const auto& row : routing.experts) {
        for (const int expert : row) ++counts[static_cast<size_t>(expert)];
      }
      const auto found = counts_of_layer(got.expert_counts, config(), layer);
      EXPECT_EQ(std::vector<int64_t>(found.begin(), found.end()), counts);
    }
  }
}

// Elements of a tensor to differentiate: all of a small one, a spread of a large one.
std::vector<size_t> chosen_elements(size_t size) {
  constexpr size_t kMost = 40;
  std::vector<size_t> out;
  const size_t step = size <= kMost ? 1 : size / kMost | 1;  // odd: visits every column
  for (size_t i = 0; i < size; i += step) out.push_back(i);
  return out;
}

// Central differences of the twin's objective against the backward, every parameter tensor.
void expect_gradients(const Model& model, const ref::RefInput& input,
                      const std::vector<float>& gradients) {
  const ModelConfig& config = model.weights.config;
  ref::WeightTable table = widen(model.parameters);
  // truncation ~ step^2, cancellation ~ 2^-53 / step: both below 1e-9
  constexpr double kStep = 1e-5;
  double overall = 0;
  for (const float g : gradients) overall = std::max(overall, static_cast<double>(std::abs(g)));
  for (const Parameter& p : model.parameters.list()) {
    ref::Row& values = table.at(p.name);
    double worst = 0, scale = 0;
    for (int64_t i = 0; i < p.view.elements(); ++i) {
      scale = std::max(scale,
                       static_cast<double>(std::abs(gradients[static_cast<size_t>(p.offset + i)])));
    }
    for (const size_t i : chosen_elements(values.size())) {
      const double kept = values[i];
      values[i] = kept + kStep;
      const double above = ref::run_model(config, table, input).objective;
      values[i] = kept - kStep;
      const double below = ref::run_model(config, table, input).objective;
      values[i] = kept;
      worst = std::max(worst, std::abs((above - below) / (2 * kStep) -
                                       gradients[static_cast<size_t>(p.offset) + i]));
    }
    if (p.kind == TensorKind::kRouterBias) {
      EXPECT_EQ(scale, 0) << p.name;
      EXPECT_EQ(worst, 0) << p.name;
      continue;
    }
    const bool reached = input.mtp_coefficient != 0 || p.name.rfind("mtp.", 0) != 0;
    EXPECT_EQ(scale > 0, reached) << p.name << ", largest gradient " << scale;
    // Forward and backward each lose what value_bound() allows, relative to the tensor's largest
    // gradient; a tensor whose gradients cancel (norms of queries) is judged on the scale of the
    // whole as well.
    EXPECT_LE(worst, 4 * value_bound(config) * (scale + 0.01 * overall))
        << p.name << ", largest gradient " << scale;
  }
}

TEST_P(ModelTest, GradientsEqualFiniteDifferencesOfTheTwin) {
  const Model model(config());
  const Batch b = batch();
  ref::RefInput input = ref_input(b);
  input.mtp_coefficient = all_losses().mtp_coefficient;
  input.balance_coefficient = all_losses().balance_coefficient;
  expect_gradients(model, input, run_pass(model, b, {}, all_losses(), 1).gradients);
}

TEST_P(ModelTest, RowCoefficientsWeighLogProbabilities) {
  const Model model(config());
  const Batch b = batch();
  ref::RefInput input = ref_input(b);
  std::vector<float> coefficients;
  Rng rng(5);
  for (size_t t = 0; t < b.ids.size(); ++t)
    coefficients.push_back(static_cast<float>(rng.normal()));
  input.row_coefficients.assign(coefficients.begin(), coefficients.end());
  expect_gradients(model, input,
                   run_pass(model, b, {}, {.row_coefficients = coefficients}, 1, true).gradients);
}

TEST_P(ModelTest, FrozenMatricesKeepEveryOtherGradient) {
  using enum TensorRole;
  const Model model(config());
  const PassOutcome free = run_pass(model, batch(), {}, all_losses(), 1);
  const std::set<TensorRole> sets[] = {{kRouter},
                                       {kQ, kO, kExpertUp, kExpertDown, kSharedGate},
                                       {kK, kV, kGate, kDown, kExpertGate, kMtpFc},
                                       {kEmbedding, kHead, kUp, kSharedUp, kSharedDown}};
  for (const std::set<TensorRole>& frozen : sets) {
    const PassOutcome out = run_pass(model, batch(), {}, all_losses(), 1, false, frozen);
    for (const Parameter& p : model.parameters.list()) {
      for (int64_t i = p.offset; i < p.offset + p.view.elements(); ++i) {
        const float wanted =
            frozen.contains(p.id.role) ? 0 : free.gradients[static_cast<size_t>(i)];
        ASSERT_EQ(out.gradients[static_cast<size_t>(i)], wanted) << p.name;
      }
    }
  }
}

void expect_same_bits(const PassOutcome& a, const PassOutcome& b) {
  EXPECT_EQ(a.gradients, b.gradients);
  EXPECT_EQ(a.log_probability, b.log_probability);
  EXPECT_EQ(a.hidden, b.hidden);
  EXPECT_EQ(a.result.loss_sum, b.result.loss_sum);
  EXPECT_EQ(a.result.mtp_loss_sum, b.result.mtp_loss_sum);
  EXPECT_EQ(a.result.balance_loss, b.result.balance_loss);
  EXPECT_EQ(a.result.expert_counts, b.result.expert_counts);
}

TEST_P(ModelTest, SameBitsForThreadsRecomputationChunksAndPhases) {
  const Model model(config());
  const Batch b = random_batch(config(), {70, 3, 41, 1, 90}, 9);
  const PassOutcome wanted = run_pass(model, b, {}, all_losses(), 1);
  expect_same_bits(wanted, run_pass(model, b, {}, all_losses(), 2));
  expect_same_bits(wanted, run_pass(model, b, {}, all_losses(), 3));
  expect_same_bits(wanted, run_pass(model, b, {.recompute = true}, all_losses(), 2));
  expect_same_bits(wanted, run_pass(model, b, {.rows_max = 300, .head_rows = 17}, all_losses(), 1));
  expect_same_bits(wanted, run_pass(model, b, {}, all_losses(), 1, true));
}

TEST_P(ModelTest, OnePassServesBatchesOfDifferentSizes) {
  const Model model(config());
  CpuStream stream(1);
  TrainPass pass(config(), {.rows_max = 40});
  Parameters gradients(config());
  const ModelGradients places = gradients.by_place();
  for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{30, 10}, {2}, {5, 5, 5}, {40}}) {
    const Batch b = random_batch(config(), lengths, 11);
    gradients.zero(stream);
    pass.forward(model.weights, b.input(), stream);
    pass.backward(all_losses(), places, stream);
    EXPECT_EQ(copy(gradients.flat()), run_pass(model, b, {}, all_losses(), 1).gradients);
  }
}

TEST_P(ModelTest, MicroBatchesAddUp) {
  const Model model(config());
  const Batch whole = random_batch(config(), {12, 9, 20, 4}, 13);
  const PassOutcome wanted = run_pass(model, whole, {}, all_losses(), 1);
  CpuStream stream(1);
  TrainPass pass(config(), {.rows_max = 24});
  Parameters gradients(config());
  const ModelGradients places = gradients.by_place();
  LossOptions options = all_losses();
  const TargetCounts counts = count_targets(whole.input());
  options.valid_count = counts.valid;
  options.mtp_valid_count = counts.mtp_valid;
  options.document_count = 4;
  double loss = 0, mtp_loss = 0, balance = 0;
  size_t row = 0, document = 0;
  for (const size_t documents : {size_t{2}, size_t{2}}) {
    const auto lengths = std::span(whole.lengths).subspan(document, documents);
    const auto rows =
        static_cast<size_t>(std::accumulate(lengths.begin(), lengths.end(), int64_t{0}));
    const TrainInput input{.ids = std::span(whole.ids).subspan(row, rows),
                           .targets = std::span(whole.targets).subspan(row, rows),
                           .document_lengths = lengths};
    pass.forward(model.weights, input, stream);
    const LossResult& result = pass.backward(options, places, stream);
    loss += result.loss_sum;
    mtp_loss += result.mtp_loss_sum;
    balance += result.balance_loss;
    row += rows;
    document += documents;
  }
  EXPECT_NEAR(loss, wanted.result.loss_sum, 1e-9 * loss);
  EXPECT_NEAR(mtp_loss, wanted.result.mtp_loss_sum, 1e-9 * mtp_loss);
  EXPECT_NEAR(balance, wanted.result.balance_loss, 16 * kEpsilon * balance);
  double scale = 0;
  for (const float g : wanted.gradients) scale = std::max(scale, static_cast<double>(std::abs(g)));
  for (size_t i = 0; i < wanted.gradients.size(); ++i) {
    ASSERT_NEAR(gradients.flat().f32()[i], wanted.gradients[i],
                64 * kEpsilon * scale);  // sums of 45 rows, cut in two
  }
}

// Hidden states of one sequence, whole and then cut into chunks, alone and beside others.
struct Decoder {
  const Model& model;
  Arena arena;
  Activations activations;
  SequenceStore store;
  CpuStream stream;

  static ActivationOptions activation_options() {
    return {.rows_max = 160, .keep = KeepActivations::kNothing, .mtp = true};
  }
  static int64_t bytes(const ModelConfig& config) {
    Arena measure;
    Activations(config, activation_options(), measure);
    return measure.peak_bytes();
  }
  explicit Decoder(const Model& m)
      : model(m),
        arena(bytes(m.weights.config)),
        activations(m.weights.config, activation_options(), arena),
        store(m.weights.config, 3, 160),
        stream(1) {}

  // Rows of several sequences in one forward; returns the hidden states and the MTP states (next
  // token: the id itself).
  std::pair<std::vector<float>, std::vector<float>> step(
      const std::vector<SequenceStore::Chunk>& chunks,
      const std::vector<std::vector<int32_t>>& sequences) {
    std::vector<int32_t> ids, positions;
    for (const auto& chunk : chunks) {
      for (int64_t p = chunk.first_position; p < chunk.first_position + chunk.row_count; ++p) {
        ids.push_back(sequences[static_cast<size_t>(chunk.sequence)][static_cast<size_t>(p)]);
        positions.push_back(static_cast<int32_t>(p));
      }
    }
    store.set_batch(chunks);
    const RowBatch batch{host_view(std::span<const int32_t>(ids)),
                         host_view(std::span<const int32_t>(positions))};
    forward(model.weights, batch, store, activations, stream);
    std::vector<float> hidden = copy(activations.hidden());
    forward_mtp(model.weights, activations.hidden(), batch, store, activations, stream);
    return {std::move(hidden), copy(activations.mtp().y)};
  }
};

TEST_P(ModelTest, ChunksOfAnySizeInAnyCompanyGiveTheSameBits) {
  const Model model(config());
  std::vector<std::vector<int32_t>> sequences;
  for (uint64_t s = 0; s < 3; ++s)
    sequences.push_back(random_batch(config(), {150 - static_cast<int64_t>(s) * 60}, 20 + s).ids);
  const auto length = static_cast<int64_t>(sequences[0].size());
  Decoder whole(model);
  const auto wanted = whole.step({{0, 0, length}}, sequences);
  for (const int64_t chunk : {1, 7, 64, 149}) {
    Decoder decoder(model);
    std::pair<std::vector<float>, std::vector<float>> got;
    for (int64_t p = 0; p < length; p += chunk) {
      const int64_t count = std::min(chunk, length - p);
      std::vector<SequenceStore::Chunk> rows;
      // a neighbour that decodes along, before or behind
      const int64_t other = std::min<int64_t>(p, 25);
      if (p / chunk % 2 == 1 && chunk < 64)
        rows.push_back({2, std::min<int64_t>(p / chunk / 2, 29), 1});
      const size_t before = rows.size() * static_cast<size_t>(config().hidden_size);
      rows.push_back({0, p, count});
      if (count < 10) rows.push_back({1, other, 3});
      const auto step = decoder.step(rows, sequences);
      const auto mine = static_cast<std::ptrdiff_t>(count * config().hidden_size);
      const auto start = static_cast<std::ptrdiff_t>(before);
      got.first.insert(got.first.end(), step.first.begin() + start,
                       step.first.begin() + start + mine);
      got.second.insert(got.second.end(), step.second.begin() + start,
                        step.second.begin() + start + mine);
    }
    EXPECT_EQ(got.first, wanted.first) << "chunks of " << chunk;
    EXPECT_EQ(got.second, wanted.second) << "MTP, chunks of " << chunk;
  }
}

TEST_P(ModelTest, TrainingForwardEqualsDecoding) {
  const Model model(config());
  const Batch b = random_batch(config(), {100, 66}, 31);
  CpuStream stream(2);
  TrainPass pass(config(), {.rows_max = 200});
  pass.forward(model.weights, b.input(), stream);
  const std::vector<float> trained = copy(pass.hidden());
  std::vector<std::vector<int32_t>> sequences{
      {b.ids.begin(), b.ids.begin() + 100}, {b.ids.begin() + 100, b.ids.end()}, {}};
  Decoder decoder(model);
  std::vector<float> first, second;
  for (int64_t p = 0; p < 100; p += 10) {
    std::vector<SequenceStore::Chunk> rows{{0, p, 10}};
    if (p < 60) rows.push_back({1, p, p == 50 ? 16 : 10});
    const std::vector<float> hidden = decoder.step(rows, sequences).first;
    const auto ten = static_cast<std::ptrdiff_t>(10 * config().hidden_size);
    first.insert(first.end(), hidden.begin(), hidden.begin() + ten);
    second.insert(second.end(), hidden.begin() + ten, hidden.end());
  }
  first.insert(first.end(), second.begin(), second.end());
  EXPECT_EQ(first, trained);
}

TEST_P(ModelTest, DocumentsDoNotSeeEachOther) {
  const Model model(config());
  Batch a = random_batch(config(), {9, 14, 5}, 41), b = a;
  for (size_t t = 0; t < 9; ++t)
    b.ids[t] = static_cast<int32_t>((b.ids[t] + 1) % config().vocab_size);
  const PassOutcome x = run_pass(model, a, {}, {}, 1), y = run_pass(model, b, {}, {}, 1);
  const size_t start = static_cast<size_t>(9 * config().hidden_size);
  EXPECT_TRUE(std::equal(x.hidden.begin() + static_cast<std::ptrdiff_t>(start), x.hidden.end(),
                         y.hidden.begin() + static_cast<std::ptrdiff_t>(start)));
  EXPECT_FALSE(std::equal(x.hidden.begin(), x.hidden.begin() + static_cast<std::ptrdiff_t>(start),
                          y.hidden.begin()));
}

std::string config_name(const ::testing::TestParamInfo<int>& info) {
  constexpr std::array kNames = {"K1", "K2", "Exaone4", "Mixed", "Qwen3", "GptOss"};
  return kNames.at(static_cast<size_t>(info.param));
}

INSTANTIATE_TEST_SUITE_P(Family, ModelTest, ::testing::Range(0, 6), config_name);

TEST(Parameters, LayoutIsDenseAlignedAndComplete) {
  for (const ModelConfig& config :
       {tiny_k1(), tiny_k2(), tiny_exaone4(), tiny_qwen3(), tiny_gptoss()}) {
    Parameters parameters(config);
    int64_t end = 0;
    for (const Parameter& p : parameters.list()) {
      EXPECT_EQ(p.offset % 16, 0);
      EXPECT_GE(p.offset, end);
      EXPECT_LT(p.offset - end, 16);
      EXPECT_EQ(p.view.f32(), parameters.flat().f32() + p.offset);
      end = p.offset + p.view.elements();
      EXPECT_EQ(&parameters.at(p.name), &p);
    }
    EXPECT_LE(end, parameters.flat().elements());
    EXPECT_EQ(Parameters::bytes(config), parameters.flat().bytes());
  }
  EXPECT_EQ(Parameters(tiny_k2()).find("lm_head.weight"), nullptr);  // tied
}

TEST(Parameters, FreshWeightsDependOnSeedAndNameAlone) {
  ModelConfig config = tiny_k1();
  config.vocab_size = 9001;
  config.initializer_range = 0.05;
  Parameters one(config), two(config), other(config);
  CpuStream a(1), b(3);
  one.initialise(5, a);
  two.initialise(5, b);
  other.initialise(6, a);
  EXPECT_EQ(copy(one.flat()), copy(two.flat()));
  EXPECT_NE(copy(one.at("lm_head.weight").view), copy(other.at("lm_head.weight").view));
  EXPECT_NE(copy(one.at("lm_head.weight").view), copy(one.at("model.embed_tokens.weight").view));
  const TensorView table = one.at("model.embed_tokens.weight").view;
  double sum = 0, squares = 0, fourth = 0;
  const auto n = static_cast<double>(table.elements());
  for (int64_t i = 0; i < table.elements(); ++i) {
    const double z = table.f32()[i] / 0.05;
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
  }
  EXPECT_NEAR(sum / n, 0, 4 / std::sqrt(n));  // four standard errors of each moment
  EXPECT_NEAR(squares / n, 1, 4 * std::sqrt(2 / n));
  EXPECT_NEAR(fourth / n, 3, 4 * std::sqrt(96 / n));
  for (const float w : copy(one.at("model.norm.weight").view)) EXPECT_EQ(w, 1.0f);
  for (const float w : copy(one.at("model.layers.1.mlp.e_score_correction_bias").view))
    EXPECT_EQ(w, 0.0f);
  // The tensor's own length does not matter: a smaller vocabulary has the same first rows.
  config.vocab_size = 100;
  Parameters small(config);
  small.initialise(5, a);
  const std::vector<float> head = copy(small.at("lm_head.weight").view),
                           longer = copy(one.at("lm_head.weight").view);
  EXPECT_TRUE(std::equal(head.begin(), head.end(), longer.begin()));
}

TEST(Rope, Llama3RescalesLongWavelengthsOnly) {
  const RopeFacts plain{.kind = RopeKind::kPlain, .theta = 1e6};
  RopeFacts scaled = plain;
  scaled.kind = RopeKind::kLlama3;
  scaled.factor = 16;
  scaled.original_context_tokens = 8192;
  const std::vector<float> a = rope_inverse_frequency(plain, 128),
                           b = rope_inverse_frequency(scaled, 128);
  EXPECT_EQ(a[0], 1.0f);
  EXPECT_FLOAT_EQ(a[63], static_cast<float>(std::pow(1e6, -126.0 / 128)));
  EXPECT_EQ(a[0], b[0]);
  EXPECT_FLOAT_EQ(b[63], a[63] / 16);
  for (size_t j = 0; j < 64; ++j) EXPECT_TRUE(b[j] <= a[j] && b[j] >= a[j] / 16.01f);
}

TEST(TrainPass, PlansEveryByte) {
  const ModelConfig config = tiny_k1();
  const int64_t kept = TrainPass::bytes(config, {.rows_max = 256}),
                again = TrainPass::bytes(config, {.rows_max = 256, .recompute = true});
  EXPECT_LT(again, kept);
  EXPECT_GT(TrainPass::bytes(config, {.rows_max = 512}), kept * 3 / 2);
}

TEST(TrainPass, RefusesTokensOutsideTheVocabulary) {
  const Model model(tiny_k1());
  CpuStream stream(1);
  TrainPass pass(tiny_k1(), {.rows_max = 8});
  Batch b = random_batch(tiny_k1(), {4}, 1);
  b.ids[2] = 29;
  EXPECT_THROW(pass.forward(model.weights, b.input(), stream), std::exception);
  b.ids[2] = 1;
  b.targets[1] = -5;
  EXPECT_THROW(pass.forward(model.weights, b.input(), stream), std::exception);
}

}  // namespace
}  // namespace dure
