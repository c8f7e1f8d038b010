// The model against the golden folders `hf/`: logits, hidden states, routing, loss, every gradient,
// greedy text, the MTP layer.
//
// Each case folder is a Hugging Face model with case.json and expected.safetensors (float64, or
// float32 where the reference ran so). Models run in float32 whatever they are stored in. Bounds:
// differences are in units of the largest expected value of the quantity; bounds_of() has them.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/error.h"
#include "formats/config_fixture.h"
#include "formats/safetensors.h"
#include "golden.h"
#include "model/load.h"
#include "model/train_pass.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

struct Bounds {
  double value = 0, gradient = 0;
  double floor = 0;  // this share of the model's largest gradient counts for every tensor's
};
// Forward and backward each carry rounding through every layer: a few units of 2^-24 for each of a
// layer's dozen operations, relative to the largest gradient of the tensor. A tensor whose
// gradients nearly cancel (such as those of an expert that few tokens met) is allowed the same on
// 1 % of the largest gradient of the model. A reference in float32 rounds as much itself.
Bounds bounds_of(DType reference, int64_t layers) {
  if (reference == DType::kF32) return {.value = 2e-5, .gradient = 2e-3, .floor = 1e-5};
  return {
      .value = 1e-5, .gradient = 0x1p-24 * 128 * static_cast<double>(layers + 1), .floor = 0.01};
}

std::vector<double> numbers(ConstTensorView view) {
  std::vector<double> out(static_cast<size_t>(view.elements()));
  for (size_t i = 0; i < out.size(); ++i) {
    switch (view.dtype) {
      case DType::kF64:
        out[i] = static_cast<const double*>(view.data)[i];
        break;
      case DType::kF32:
        out[i] = static_cast<const float*>(view.data)[i];
        break;
      case DType::kI64:
        out[i] = static_cast<double>(static_cast<const int64_t*>(view.data)[i]);
        break;
      case DType::kI32:
        out[i] = static_cast<const int32_t*>(view.data)[i];
        break;
      default:
        fail(ErrorCode::kUnsupported, "expected values of type {}", dtype_info(view.dtype).name);
    }
  }
  return out;
}

double largest(const std::vector<double>& values) {
  double out = 0;
  for (const double value : values) out = std::max(out, std::abs(value));
  return out;
}

std::vector<double> widened(TensorView view) { return numbers(view); }

// Rows of all of a case's sequences, one after the other: documents of their own.
struct Rows {
  std::vector<int32_t> ids, targets;
  std::vector<int64_t> lengths;
  int64_t rows = 0, columns = 0;  // B, T
  TrainInput input() const { return {.ids = ids, .targets = targets, .document_lengths = lengths}; }
};

void add_documents(const Json* documents, size_t row, int64_t columns,
                   std::vector<int64_t>& lengths) {
  int64_t run = 1;
  for (int64_t t = 1; t <= columns; ++t, ++run) {
    const bool ends =
        t == columns ||
        (documents != nullptr && documents->at(row).at(static_cast<size_t>(t)).as_int() !=
                                     documents->at(row).at(static_cast<size_t>(t - 1)).as_int());
    if (ends) {
      lengths.push_back(run);
      run = 0;
    }
  }
}

Rows read_rows(const Json& json) {
  Rows out;
  const Json::Array& ids = json.at("ids").as_array("ids");
  out.rows = static_cast<int64_t>(ids.size());
  out.columns = static_cast<int64_t>(ids.at(0).size());
  for (size_t b = 0; b < ids.size(); ++b) {
    const Json* labels = json.find("labels");
    for (size_t t = 0; t < ids[b].size(); ++t) {
      out.ids.push_back(static_cast<int32_t>(ids[b].at(t).as_int("id")));
      out.targets.push_back(labels != nullptr && t + 1 < ids[b].size()
                                ? static_cast<int32_t>(labels->at(b).at(t + 1).as_int("label"))
                                : kIgnore);
    }
    add_documents(json.find("documents"), b, out.columns, out.lengths);
  }
  return out;
}

class Case {
 public:
  Case(const Path& folder, golden::Report& report)
      : name_(folder.filename().string()),
        report_(report),
        json_(load_json(folder / "case.json")),
        expected_(folder / "expected.safetensors"),
        files_(std::make_shared<ModelFiles>(folder)),
        parameters_(files_->config()),
        gradients_(files_->config()),
        rows_(read_rows(json_)),
        bounds_(bounds_of(expected_.find("logits")->dtype, files_->config().layer_count())),
        stream_(2) {
    load_parameters(*files_, parameters_, stream_);
    weights_ = bind_weights(parameters_, stream_);
  }

  void run() {
    TrainPass pass(weights_.config, pass_options());
    pass.forward(weights_, rows_.input(), stream_);
    compare_logits("logits", pass.hidden(), "logits");
    compare_hidden(pass);
    compare_routing(pass);
    compare_mapped_weights(pass.hidden());
    gradients_.zero(stream_);
    const LossResult& result = pass.backward({}, gradients_.by_place(), stream_);
    if (result.valid > 0)
      compare_loss("loss", result.loss_sum / static_cast<double>(result.valid), "loss");
    compare_gradients("grad.", "grad");
    compare_greedy();
    if (const Json* mtp = json_.find("mtp")) {
      for (const Json& kind : mtp->at("attention").as_array("mtp.attention"))
        run_mtp(kind, mtp->at("loss_coefficient").as_double());
    }
    for (const TensorInfo& info : expected_.tensors()) {
      if (!seen_.contains(info.name) && !info.name.starts_with("logits.transformers")) {
        std::printf("golden hf/%s: not compared: %s\n", name_.c_str(), info.name.c_str());
      }
    }
    EXPECT_TRUE(seen_.contains("logits"));
  }

 private:
  TrainPassOptions pass_options() const {
    return {.rows_max = static_cast<int64_t>(rows_.ids.size())};
  }

  const TensorInfo* expected(const std::string& name) {
    const TensorInfo* info = expected_.find(name);
    if (info != nullptr) seen_.insert(name);
    return info;
  }

  // In units of the largest expected value (or of `unit`), against `bound`.
  void compare(const std::string& quantity, const std::vector<double>& got,
               const std::vector<double>& wanted, double bound, const std::string& what,
               double unit = 0) {
    ASSERT_EQ(got.size(), wanted.size()) << what;
    const double scale = unit > 0 ? unit : largest(wanted);
    double worst = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      const double difference = std::abs(got[i] - wanted[i]) / (scale > 0 ? scale : 1);
      worst = std::isnan(difference) ? HUGE_VAL : std::max(worst, difference);
    }
    report_.add(quantity, worst, name_ + " " + what);
    EXPECT_LE(worst, bound) << name_ << ": " << what << ", largest expected " << scale;
  }

  void compare_logits(const std::string& tensor, TensorView hidden, const std::string& quantity) {
    const TensorInfo* info = expected(tensor);
    if (info == nullptr) return;
    const Buffer buffer = Buffer::of(DType::kF32, {hidden.dim(0), weights_.config.vocab_size});
    const TensorView logits = buffer.view(DType::kF32, {hidden.dim(0), weights_.config.vocab_size});
    head_logits(weights_, hidden, logits, stream_);
    std::vector<double> got = widened(logits);
    if (info->shape[1] + 1 == rows_.columns)
      got = without_last_rows(got, weights_.config.vocab_size);
    compare(quantity, got, numbers(expected_.view(tensor)), bounds_.value, tensor);
  }

  // [B, T, C] -> [B, T-1, C]
  std::vector<double> without_last_rows(const std::vector<double>& values, int64_t width) const {
    std::vector<double> out;
    for (int64_t b = 0; b < rows_.rows; ++b) {
      const auto start = values.begin() + static_cast<std::ptrdiff_t>(b * rows_.columns * width);
      out.insert(out.end(), start,
                 start + static_cast<std::ptrdiff_t>((rows_.columns - 1) * width));
    }
    return out;
  }

  void compare_tensor(const std::string& quantity, const std::string& tensor, TensorView got) {
    if (expected(tensor) != nullptr)
      compare(quantity, widened(got), numbers(expected_.view(tensor)), bounds_.value, tensor);
  }

  void compare_hidden(TrainPass& pass) {
    const int64_t layers = weights_.config.layer_count();
    for (int64_t i = 0; i <= layers; ++i) {
      const TensorView x = i < layers ? pass.activations().layer(i).x : pass.activations().x_last();
      compare_tensor("hidden", "hidden." + std::to_string(i), x);
    }
    compare_tensor("hidden.norm", "hidden.norm", pass.hidden());
  }

  void compare_routing(TrainPass& pass) {
    for (int64_t i = 0; i < weights_.config.layer_count(); ++i) {
      if (!weights_.config.layers[static_cast<size_t>(i)].sparse) continue;
      const MoeActivations& moe = pass.activations().layer(i).moe;
      const std::string prefix = "router." + std::to_string(i) + ".";
      compare_tensor("router probabilities", prefix + "probabilities", moe.probabilities);
      compare_tensor("router weights", prefix + "weights", moe.weights);
      if (expected(prefix + "experts") == nullptr) continue;
      const std::vector<double> got = numbers(moe.experts),
                                wanted = numbers(expected_.view(prefix + "experts"));
      ASSERT_EQ(got.size(), wanted.size());
      int64_t wrong = 0;
      for (size_t r = 0; r < got.size(); ++r) wrong += got[r] != wanted[r];
      report_.add("router experts that differ", static_cast<double>(wrong), name_);
      EXPECT_EQ(wrong, 0) << name_ << " " << prefix << "experts";
    }
  }

  // Weights read from the map in their stored type give the bits of the widened masters.
  void compare_mapped_weights(TensorView hidden) {
    const ModelWeights mapped = open_weights(files_);
    TrainPass pass(mapped.config, pass_options());
    pass.forward(mapped, rows_.input(), stream_);
    const std::vector<double> a = widened(hidden), b = widened(pass.hidden());
    int64_t different = 0;
    for (size_t i = 0; i < a.size(); ++i) different += a[i] != b[i];
    report_.add("mapped weights: other bits", static_cast<double>(different), name_);
    EXPECT_EQ(different, 0) << name_ << ": mapped weights";
  }

  void compare_loss(const std::string& tensor, double got, const std::string& quantity) {
    if (expected(tensor) != nullptr)
      compare(quantity, {got}, numbers(expected_.view(tensor)), bounds_.value, tensor);
  }

  // As the file packs it.
  std::vector<double> gradient_of(const StoredTensor& tensor) const {
    if (!tensor.packed) return widened(gradients_.view(tensor.parts[0].id));
    const auto fetch = [this](const ImpliedTensor& part) {
      return ConstTensorView(gradients_.view(part.id));
    };
    std::vector<double> out;
    std::vector<float> piece;
    for (int64_t i = 0; i < tensor.pieces(); ++i) {
      packed_piece(tensor, i, gradients_.config(), fetch, piece);
      out.insert(out.end(), piece.begin(), piece.end());
    }
    return out;
  }

  void compare_gradients(const std::string& prefix, const std::string& quantity) {
    double overall = 0;
    const std::vector<StoredTensor> tensors = stored_tensors(gradients_.config());
    for (const StoredTensor& tensor : tensors)
      overall = std::max(overall, largest(gradient_of(tensor)));
    for (const StoredTensor& tensor : tensors) {
      if (expected(prefix + tensor.name) == nullptr) continue;
      const std::vector<double> wanted = numbers(expected_.view(prefix + tensor.name));
      const double unit = largest(wanted) + bounds_.floor * overall;
      compare(quantity, gradient_of(tensor), wanted, bounds_.gradient, prefix + tensor.name, unit);
    }
  }

  int32_t best_next(const std::vector<int32_t>& tokens) {
    const auto n = static_cast<int64_t>(tokens.size());
    TrainPass pass(weights_.config, {.rows_max = n, .mtp = false});
    const std::vector<int32_t> targets(tokens.size(), kIgnore);
    const int64_t lengths[] = {n};
    pass.forward(weights_, {.ids = tokens, .targets = targets, .document_lengths = lengths},
                 stream_);
    const Buffer buffer = Buffer::of(DType::kF32, {1, weights_.config.vocab_size});
    const TensorView logits = buffer.view(DType::kF32, {1, weights_.config.vocab_size});
    head_logits(weights_, pass.hidden().rows(n - 1, 1), logits, stream_);
    return static_cast<int32_t>(std::max_element(logits.f32(), logits.f32() + logits.elements()) -
                                logits.f32());
  }

  void compare_greedy() {
    if (expected("greedy") == nullptr) return;
    std::vector<int32_t> tokens;
    for (const Json& id : json_.at("greedy_prompt").as_array())
      tokens.push_back(static_cast<int32_t>(id.as_int()));
    // Sixteen new tokens; a set made by cutting a fixed prompt length off the whole lists only the
    // last ones where the prompt was shorter (`one-row`: 10 of them).
    constexpr size_t kNewTokens = 16;
    const std::vector<double> wanted = numbers(expected_.view("greedy"));
    for (size_t i = 0; i < std::max(kNewTokens, wanted.size()); ++i)
      tokens.push_back(best_next(tokens));
    int64_t wrong = 0;
    for (size_t i = 0; i < wanted.size(); ++i)
      wrong += tokens[tokens.size() - wanted.size() + i] != static_cast<int32_t>(wanted[i]);
    report_.add("greedy tokens that differ", static_cast<double>(wrong), name_);
    EXPECT_EQ(wrong, 0) << name_ << ": greedy";
  }

  void run_mtp(const Json& kind, double coefficient) {
    const std::string prefix = "mtp." + kind.at("name").as_string() + ".";
    const int64_t window = kind.at("window").as_int();
    LayerFacts& layer = weights_.config.mtp_layer;
    layer = window > 0 ? sliding_layer(layer, window) : global_layer(layer);
    TrainPass pass(weights_.config, pass_options());
    pass.forward(weights_, rows_.input(), stream_);
    pass.losses({.mtp_coefficient = coefficient}, stream_);
    compare_logits(prefix + "logits", pass.activations().mtp().y, "mtp logits");
    gradients_.zero(stream_);
    const LossResult& result =
        pass.backward({.mtp_coefficient = coefficient}, gradients_.by_place(), stream_);
    compare_loss(prefix + "loss", result.mtp_loss_sum / static_cast<double>(result.mtp_valid),
                 "mtp loss");
    compare_gradients(prefix + "grad.", "mtp grad");
  }

  std::string name_;
  golden::Report& report_;
  Json json_;
  SafetensorsFile expected_;
  std::shared_ptr<const ModelFiles> files_;
  Parameters parameters_, gradients_;
  ModelWeights weights_;
  Rows rows_;
  Bounds bounds_;
  CpuStream stream_;
  std::set<std::string> seen_;
};

TEST(ModelGolden, EveryCaseOfEveryFolder) {
  golden::Report report("hf");
  for (const Path& folder : golden::case_folders("hf")) {
    SCOPED_TRACE(folder.string());
    try {
      Case(folder, report).run();
    } catch (const std::exception& error) {
      ADD_FAILURE() << folder.string() << " cannot be read: " << error.what();
    }
  }
}

}  // namespace
}  // namespace dure
