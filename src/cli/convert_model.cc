// Both ways read tensor by tensor through ModelFiles; values change type a million elements at a
// time. From GGUF to GGUF all metadata stay but the architecture's.
#include "cli/convert_model.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/check.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/progress.h"
#include "data/model_texts.h"
#include "formats/gguf_model.h"
#include "formats/tensor_names.h"
#include "kernels/convert.h"
#include "tensor/host_array.h"

namespace dure {
namespace {

constexpr int64_t kPieceElements = 1 << 20;

// Calls put(offset, bytes) until all of `view` is written in type `to`. `what` names the tensor.
template <typename Put>
Narrowing put_plain(const std::string& what, ConstTensorView view, DType to, Put&& put) {
  Narrowing narrowing(what, view.shape, to);
  if (view.dtype == to) {
    narrowing.look_at(view);
    put(int64_t{0}, host_bytes(view));
    return narrowing;
  }
  std::string piece;
  for (int64_t first = 0; first < view.elements(); first += kPieceElements) {
    convert_elements(view, first, std::min(kPieceElements, view.elements() - first), narrowing,
                     piece);
    put(first * row_bytes(to, 1), std::string_view(piece));
  }
  return narrowing;
}

ConstTensorView with_adapter(AdapterMerger* adapter, TensorId id, ConstTensorView stored) {
  return adapter != nullptr && adapter->changes(id) ? adapter->merged(id, stored) : stored;
}

// What write_hf_folder() takes, from files of any kind.
class FilesProvider : public TensorProvider {
 public:
  FilesProvider(const ModelFiles& files, const ConvertOptions& options)
      : files_(files),
        adapter_(options.adapter),
        written_(options.dtype),
        progress_("convert", static_cast<int64_t>(files.tensors().size()), "tensors") {
    matrices_ = files.dtype({TensorRole::kEmbedding, -1, -1});
    if (is_block(matrices_)) matrices_ = DType::kF32;
  }
  // GGUF holds norms and routers in F32 whatever the matrices are: they return to the matrices'
  // type where no value changes.
  DType dtype(const ImpliedTensor& tensor) const override {
    // A merged matrix is rounded once, to what is written.
    if (written_ && adapter_ != nullptr && adapter_->changes(tensor.id)) return *written_;
    const DType stored = files_.dtype(tensor.id);
    if (is_block(stored)) return DType::kF32;
    const bool widened = files_.gguf_metadata() != nullptr && stored == DType::kF32 &&
                         gguf_always_f32(tensor.id.role) && !tensor.always_f32();
    return widened && matrices_ != DType::kF32 && fits_exactly(files_.tensor(tensor.id), matrices_)
               ? matrices_
               : stored;
  }
  ConstTensorView fetch(const ImpliedTensor& tensor, Buffer& scratch) override {
    throw_if_interrupted("nothing was written; start again");
    progress_.update(++done_);
    const ConstTensorView stored =
        with_adapter(adapter_, tensor.id, files_.load(tensor.id, scratch));
    const DType wanted = dtype(tensor);
    if (stored.dtype == wanted) return stored;
    const int64_t bytes = stored.elements() * row_bytes(wanted, 1);
    if (converted_.bytes() < bytes) converted_ = Buffer(bytes);
    const std::string what = fmt::format("{}: tensor '{}'", files_.path().string(), tensor.name);
    put_plain(what, stored, wanted, [&](int64_t offset, std::string_view piece) {
      std::copy(piece.begin(), piece.end(), static_cast<char*>(converted_.data()) + offset);
    });  // What is not finite the writer says.
    return converted_.view(wanted, stored.shape);
  }

 private:
  const ModelFiles& files_;
  AdapterMerger* adapter_;
  std::optional<DType> written_;
  DType matrices_ = DType::kF32;
  Buffer converted_;
  Progress progress_;
  int64_t done_ = 0;
};

// The type of one GGUF tensor: all experts of a stack must agree.
DType gguf_dtype_of(const ModelFiles& files, TensorId id, const ConvertOptions& options) {
  if (gguf_always_f32(id.role)) return DType::kF32;
  if (options.dtype) return *options.dtype;
  if (!is_expert(id.role)) return files.dtype(id);
  const DType first = files.dtype({id.role, id.layer, 0});
  for (int64_t e = 1; e < files.config().layer(id.layer).experts.count; ++e) {
    if (files.dtype({id.role, id.layer, e}) != first) {
      fail(ErrorCode::kUnsupported,
           "{}: the {} tensors of layer {} have different types; say which one to write (--type)",
           files.path().string(), role_name(id.role), id.layer);
    }
  }
  return first;
}

// Blocks are not encoded here.
void check_mergeable(const ModelFiles& files, const ImpliedTensor& stack,
                     const ConvertOptions& options) {
  const TensorId id{stack.id.role, stack.id.layer, is_expert(stack.id.role) ? 0 : -1};
  if (options.dtype || options.adapter == nullptr || !options.adapter->changes(id)) return;
  if (is_block(files.dtype(id)))
    fail(
        ErrorCode::kUnsupported,
        "{}: {} is {}: an adapter is merged into plain types: give --type (bf16, f16 or f32), then "
        "`dure quantize`",
        files.path().string(), stack.name, dtype_info(files.dtype(id)).name);
}

void put_tensor(const ModelFiles& files, TensorId id, const TensorInfo& info, Buffer& scratch,
                AdapterMerger* adapter, GgufSetWriter& writer) {
  const int64_t count = is_expert(id.role) ? info.shape[0] : 1;
  const int64_t part_bytes = info.bytes() / count;
  for (int64_t e = 0; e < count; ++e) {
    throw_if_interrupted("nothing was written; start again");
    const TensorId one{id.role, id.layer, is_expert(id.role) ? e : -1};
    const ConstTensorView view = with_adapter(adapter, one, files.load(one, scratch));
    const auto put = [&](int64_t offset, std::string_view piece) {
      writer.write_piece(info.name, e * part_bytes + offset, piece);
    };
    if (is_block(info.dtype)) {  // Kept as it is.
      put(0, host_bytes(view));
      continue;
    }
    const std::string expert = is_expert(id.role) ? fmt::format(", expert {}", e) : "";
    put_plain(fmt::format("{}: tensor '{}'{}", files.path().string(), info.name, expert), view,
              info.dtype, put)
        .finish();
  }
}

// The type that most bytes of the weights have.
DType main_type(const std::vector<TensorInfo>& tensors, const std::vector<TensorId>& ids) {
  std::map<DType, int64_t> bytes;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!gguf_always_f32(ids[i].role)) bytes[tensors[i].dtype] += tensors[i].bytes();
  }
  const auto most = std::max_element(
      bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == bytes.end() ? DType::kF32 : most->first;
}

bool is_quantised(const std::vector<TensorInfo>& tensors) {
  return std::any_of(tensors.begin(), tensors.end(),
                     [](const TensorInfo& info) { return is_block(info.dtype); });
}

}  // namespace

GgufMetadata gguf_metadata_of(const ModelFiles& files) {
  GgufMetadata out = gguf_config(files.config());
  if (const GgufMetadata* old =
          files.gguf_metadata()) {  // Everything that is not the architecture's stays as it was.
    const std::string prefix =
        old->at("general.architecture").as_string("general.architecture") + ".";
    for (const auto& [key, value] : old->entries()) {
      if (!key.starts_with(prefix) && !key.starts_with("dure.") && key != "general.architecture")
        out.set(key, value);
    }
    return out;
  }
  out.set("general.name",
          GgufValue::string(
              std::filesystem::absolute(files.path()).lexically_normal().filename().string()));
  write_gguf_sampling(files, out);
  const auto tokenizer = load_tokenizer(files);
  if (tokenizer) {
    write_gguf_vocab(tokenizer->to_gguf(), files.config().vocab_size, out);
  } else {
    out.set("tokenizer.ggml.model", GgufValue::string("none"));
  }
  out.set("tokenizer.ggml.bos_token_id", GgufValue::u32(files.config().bos_token));
  write_gguf_ends(files, tokenizer ? &*tokenizer : nullptr, out);
  out.set("tokenizer.ggml.padding_token_id", GgufValue::u32(files.config().pad_token));
  write_gguf_templates(files.texts().chat_template, files.texts().more_templates, out);
  return out;
}

namespace {

bool same_file(const Path& a, const Path& b) {
  return path_exists(a) && path_exists(b) && std::filesystem::equivalent(a, b);
}

// A folder that is replaced goes as a whole: never with the source in it, and only a model's.
void check_replaceable_folder(const ModelFiles& files, const Path& out, bool replace) {
  for (Path at = std::filesystem::canonical(files.path()); path_exists(out);
       at = at.parent_path()) {
    if (same_file(at, out)) {
      fail(ErrorCode::kInvalidArgument,
           "{}: the model is in it; it cannot be converted into itself", out.string());
    }
    if (at == at.root_path()) break;
  }
  check_replaceable(files, out, replace);
  if (std::filesystem::is_directory(out) && !std::filesystem::is_empty(out) &&
      !path_exists(out / "config.json")) {
    fail(ErrorCode::kInvalidArgument,
         "{}: a folder with other things than a model (no config.json) is not replaced; give "
         "another name",
         out.string());
  }
  for (const char* of_run : {"checkpoints", "metrics.jsonl"}) {  // Its config.json is the run's.
    if (!path_exists(out / of_run)) continue;
    fail(ErrorCode::kInvalidArgument, "{}: a run's folder ({}) is not replaced; give another name",
         out.string(), of_run);
  }
}

std::vector<Path> weights_in(const Path& folder) {
  std::vector<Path> out;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

void check_replaceable(const ModelFiles& files, const Path& out, bool replace) {
  std::vector<Path> sources = files.weight_files();
  sources.push_back(files.path());
  for (const Path& source : sources) {
    if (same_file(source, out)) {
      fail(ErrorCode::kInvalidArgument,
           "{}: a model cannot be converted into itself; give another "
           "name",
           out.string());
    }
  }
  if (path_exists(out) && !replace)
    fail(ErrorCode::kInvalidArgument,
         "{} is there already; give another name, or --force to replace it", out.string());
}

std::vector<Path> convert_to_folder(const ModelFiles& files, const Path& out,
                                    const ConvertOptions& options) {
  check_replaceable_folder(files, out, options.replace);
  const InterruptScope scope;
  FilesProvider provider(files, options);
  HfFolderOptions folder{.dtype = options.dtype};
  if (options.part_bytes_max > 0) folder.shard_bytes_max = options.part_bytes_max;
  write_hf_folder(out, files.config(), folder_texts(files), provider, folder);
  return weights_in(out);
}

std::vector<Path> convert_to_gguf(const ModelFiles& files, const Path& out,
                                  const ConvertOptions& options) {
  GgufMetadata metadata = gguf_metadata_of(files);
  std::vector<TensorId> ids;
  std::vector<TensorInfo> tensors;
  for (const ImpliedTensor& stack : implied_stacks(files.config())) {
    ids.push_back(stack.id);
    check_mergeable(files, stack, options);
    tensors.push_back({gguf_name(stack.id, files.config()), gguf_dtype_of(files, stack.id, options),
                       stack.shape});
  }
  if (options.dtype ||
      files.gguf_metadata() == nullptr) {  // Weights kept as they are keep their label, too.
    metadata.set("general.file_type", GgufValue::u32(gguf_file_type(main_type(tensors, ids))));
  }
  if (is_quantised(tensors)) metadata.set("general.quantization_version", GgufValue::u32(2));
  if (!other_programs_know(files.config())) {
    log_warn(
        "{}: llama.cpp's exaone-moe cannot say this model's layers; written as architecture "
        "'dure-exaone-moe', which other programs refuse",
        out.string());
  }
  const RopeFacts& rope = common_rope(files.config());
  if (rope.kind == RopeKind::kYarn && !rope.truncate) {
    log_warn(
        "{}: llama.cpp counts YaRN's pairs from whole ones, this model does not (truncate false): "
        "its logits there will differ a little; Dure reads the model's own from the file",
        out.string());
  }
  for (const Path& file : gguf_set_files(out, tensors, options.part_bytes_max))
    check_replaceable(files, file, options.replace);
  const InterruptScope scope;
  GgufSetWriter writer(out, metadata, tensors, options.part_bytes_max);
  Progress progress("convert", static_cast<int64_t>(ids.size()), "tensors");
  Buffer scratch;
  for (size_t i = 0; i < ids.size(); ++i) {
    put_tensor(files, ids[i], tensors[i], scratch, options.adapter, writer);
    progress.update(static_cast<int64_t>(i + 1));
  }
  writer.commit();
  progress.finish();
  return writer.files();
}

}  // namespace dure
