// Adapters against PEFT: logits, loss and every factor's gradient of the golden folders
// `adapters/NAME` on their base (`hf/NAME`), and the same adapters written and read again.
//
// The reference ran in float32, so bounds are those of model_golden_test.cc for such a reference.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/json.h"
#include "formats/adapter_files.h"
#include "formats/safetensors.h"
#include "golden.h"
#include "model/load.h"
#include "model/train_pass.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

constexpr double kValueBound = 2e-5, kGradientBound = 2e-3, kGradientFloor = 1e-5;

// Folders of adapters lie beside the golden folder of their bases unless DURE_GOLDEN holds both.
std::vector<Path> adapter_cases() {
  std::vector<Path> cases = golden::case_folders("adapters");
  const Path shared = Path(DURE_SOURCE_DIR).parent_path() / "shared" / "golden-adapters";
  if (std::getenv("DURE_GOLDEN") == nullptr && path_exists(shared / "adapters")) {
    for (const auto& entry : std::filesystem::directory_iterator(shared / "adapters")) {
      if (entry.is_directory()) cases.push_back(entry.path());
    }
  }
  std::sort(cases.begin(), cases.end());
  return cases;
}

// The folder of a case's base: beside the adapters, or in any of the golden roots.
Path base_folder(const Path& folder, const std::string& base) {
  std::vector<Path> candidates = {folder.parent_path().parent_path() / base};
  for (const Path& root : golden::roots("hf")) candidates.push_back(root.parent_path() / base);
  const Path shared = Path(DURE_SOURCE_DIR).parent_path() / "shared";
  for (const char* name : {"golden", "golden-adapters"}) candidates.push_back(shared / name / base);
  for (const Path& path : candidates) {
    if (path_exists(path / "config.json")) return path;
  }
  return {};
}

std::vector<float> floats(ConstTensorView view) {
  EXPECT_EQ(view.dtype, DType::kF32);
  const float* data = static_cast<const float*>(view.data);
  return {data, data + view.elements()};
}

double largest(const std::vector<float>& values) {
  double out = 0;
  for (const float value : values) out = std::max(out, std::abs(static_cast<double>(value)));
  return out;
}

struct Rows {
  std::vector<int32_t> ids, targets;
  std::vector<int64_t> lengths;
  TrainInput input() const { return {.ids = ids, .targets = targets, .document_lengths = lengths}; }
};

Rows read_rows(const Json& json) {
  Rows out;
  const Json::Array& ids = json.at("ids").as_array("ids");
  for (size_t b = 0; b < ids.size(); ++b) {
    for (size_t t = 0; t < ids[b].size(); ++t) {
      out.ids.push_back(static_cast<int32_t>(ids[b].at(t).as_int("id")));
      const bool last = t + 1 == ids[b].size();
      out.targets.push_back(
          last ? kIgnore : static_cast<int32_t>(json.at("labels").at(b).at(t + 1).as_int("label")));
    }
    out.lengths.push_back(static_cast<int64_t>(ids[b].size()));
  }
  return out;
}

class Case {
 public:
  Case(const Path& folder, const Path& base, golden::Report& report)
      : folder_(folder),
        name_(folder.filename().string()),
        report_(report),
        expected_(folder / "expected.safetensors"),
        files_(std::make_shared<ModelFiles>(base)),
        content_(read_adapter(folder, files_->config())),
        factors_(files_->config(), content_.layout),
        gradients_(files_->config(), content_.layout),
        rows_(read_rows(load_json(folder / "case.json"))),
        stream_(2) {
    factors_.load(content_, stream_);
    weights_ = open_weights(files_);
    weights_.adapter = std::make_shared<ModelAdapter>(factors_.bind());
  }

  void run() {
    pass_.emplace(weights_.config,
                  TrainPassOptions{.rows_max = static_cast<int64_t>(rows_.ids.size()),
                                   .adapter_rank = weights_.adapter_rank()});
    compare("logits", logits(weights_), floats(expected_.view("logits")), kValueBound, "logits");
    backward();
    read_again();
  }

 private:
  // The longest list of logits that the test asks for, of every row.
  std::vector<float> logits(const ModelWeights& weights) {
    pass_->forward(weights, rows_.input(), stream_);
    const Shape shape{pass_->hidden().dim(0), weights.config.vocab_size};
    const Buffer buffer = Buffer::of(DType::kF32, shape);
    const TensorView view = buffer.view(DType::kF32, shape);
    head_logits(weights, pass_->hidden(), view, stream_,
                {.inner = pass_->activations().adapter_inner()});
    return floats(view);
  }

  void compare(const std::string& quantity, const std::vector<float>& got,
               const std::vector<float>& wanted, double bound, const std::string& what,
               double unit = 0) {
    ASSERT_EQ(got.size(), wanted.size()) << what;
    const double scale = std::max(largest(wanted), unit);
    double worst = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      const double difference = std::abs(double{got[i]} - wanted[i]) / (scale > 0 ? scale : 1);
      worst = std::isnan(difference) ? HUGE_VAL : std::max(worst, difference);
    }
    report_.add(quantity, worst, name_ + " " + what);
    EXPECT_LE(worst, bound) << name_ << ": " << what << ", largest expected " << scale;
  }

  // Of every factor, under the names of the file, as the writer of adapters lays them out.
  void backward() {
    ModelGradients frozen;
    frozen.layers.resize(weights_.config.layers.size());
    const ModelAdapterGradients places = gradients_.by_place();
    pass_->forward(weights_, rows_.input(), stream_);
    const LossResult& result = pass_->backward({}, frozen, stream_, &places);
    const std::vector<float> loss = {
        static_cast<float>(result.loss_sum / static_cast<double>(result.valid))};
    compare("loss", loss, floats(expected_.view("loss")), kValueBound, "loss");
    const TemporaryFolder folder;
    write_peft_adapter(folder.path() / "g", files_->config(), gradients_.content(stream_), {});
    const SafetensorsFile written(folder.path() / "g" / "adapter_model.safetensors");
    double most = 0;
    for (const TensorInfo& info : expected_.tensors()) {
      if (info.name.starts_with("grad."))
        most = std::max(most, largest(floats(expected_.view(info.name))));
    }
    size_t count = 0;
    for (const TensorInfo& info : expected_.tensors()) {
      if (!info.name.starts_with("grad.")) continue;
      const std::string name = info.name.substr(5);
      ASSERT_NE(written.find(name), nullptr) << name;
      EXPECT_EQ(written.find(name)->shape, info.shape) << name;
      compare("gradients", floats(written.view(name)), floats(expected_.view(info.name)),
              kGradientBound, name, kGradientFloor * most);
      ++count;
    }
    EXPECT_EQ(count, written.tensors().size());
  }

  // Written as either kind and read back, the adapter gives the same bits.
  void read_again() {
    const std::vector<float> wanted = logits(weights_);
    const TemporaryFolder folder;
    const ModelConfig& config = files_->config();
    write_peft_adapter(folder.path() / "peft", config, content_, {.base = content_.base});
    write_gguf_adapter(folder.path() / "a.gguf", config, content_, {.base = content_.base});
    expect_same_file(folder.path() / "peft" / "adapter_model.safetensors");
    for (const char* name : {"peft", "a.gguf"}) {
      EXPECT_TRUE(is_adapter(folder.path() / name));
      weights_.adapter = open_adapter(folder.path() / name, config, stream_);
      const std::vector<float> got = logits(weights_);
      EXPECT_EQ(std::memcmp(got.data(), wanted.data(), wanted.size() * sizeof(float)), 0)
          << name_ << " " << name;
    }
  }

  void expect_same_file(const Path& path) {
    const SafetensorsFile ours(path), theirs(folder_ / "adapter_model.safetensors");
    ASSERT_EQ(ours.tensors().size(), theirs.tensors().size());
    for (const TensorInfo& info : theirs.tensors()) {
      ASSERT_NE(ours.find(info.name), nullptr) << info.name;
      EXPECT_EQ(*ours.find(info.name), info);
      if (info.dtype == DType::kF32)
        EXPECT_EQ(floats(ours.view(info.name)), floats(theirs.view(info.name))) << info.name;
    }
  }

  Path folder_;
  std::string name_;
  golden::Report& report_;
  SafetensorsFile expected_;
  std::shared_ptr<ModelFiles> files_;
  AdapterContent content_;
  AdapterParameters factors_, gradients_;
  Rows rows_;
  CpuStream stream_;
  ModelWeights weights_;
  std::optional<TrainPass> pass_;
};

TEST(Adapters, AsPeftComputesThem) {
  golden::Report report("adapters");
  for (const Path& folder : adapter_cases()) {
    const std::string base = load_json(folder / "case.json").at("base").as_string("base");
    const Path model = base_folder(folder, base);
    if (model.empty()) {
      ADD_FAILURE() << folder << ": no base " << base;
      continue;
    }
    SCOPED_TRACE(folder.string());
    Case(folder, model, report).run();
  }
}

}  // namespace
}  // namespace dure
