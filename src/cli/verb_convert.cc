// `dure convert IN OUT`: a model from a Hugging Face folder to GGUF, back, or within one of them.
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "base/progress.h"
#include "cli/args.h"
#include "cli/convert_model.h"
#include "cli/verbs.h"

namespace dure {
namespace {

struct ConvertArgs {
  std::string in, out;
  std::optional<std::string> type, part_size, adapter, base;
  bool force = false;
};

// "5GB", "500MB", "2GiB", "1048576".
int64_t parse_size(const std::string& text) {
  const std::pair<const char*, double> units[] = {{"kib", 1024.0},
                                                  {"mib", 1048576.0},
                                                  {"gib", 1073741824.0},
                                                  {"kb", 1e3},
                                                  {"mb", 1e6},
                                                  {"gb", 1e9},
                                                  {"k", 1e3},
                                                  {"m", 1e6},
                                                  {"g", 1e9},
                                                  {"b", 1},
                                                  {"", 1}};
  size_t used = 0;
  double number = 0;
  try {
    number = std::stod(text, &used);
  } catch (const std::exception&) {
    used = std::string::npos;
  }
  const bool bare = used == text.size() && number < 1e6;  // "5": nobody wants parts of five bytes
  std::string unit = used == std::string::npos ? "?" : text.substr(used);
  for (char& c : unit) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const auto& [name, factor] : units) {
    if (!bare && unit == name && number * factor >= 1 && number * factor < 9e18)
      return static_cast<int64_t>(number * factor);
  }
  fail(ErrorCode::kInvalidArgument,
       "--part-size '{}': a size with its unit is needed, such as 5GB or 500MiB", text);
}

DType parse_type(const std::string& name) {
  const std::string known = name == "float32"    ? "f32"
                            : name == "float16"  ? "f16"
                            : name == "bfloat16" ? "bf16"
                                                 : name;
  const auto dtype = dtype_from_name(known);
  if (dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16) return *dtype;
  fail(ErrorCode::kInvalidArgument,
       "--type '{}': f32, f16 or bf16; block types are made by `dure quantize`", name);
}

// `out` is the name that opens what was written, but for a GGUF set: its first file does.
void say_written(const Path& in, const Path& out, const std::vector<Path>& files) {
  const Path& opens = out.extension() == ".gguf" ? files[0] : out;
  std::printf("converted: %s -> %s%s\n", in.c_str(), opens.c_str(),
              out.extension() == ".gguf" ? "" : " (a Hugging Face folder)");
  if (files.size() == 1) return;
  std::printf("%zu files:\n", files.size());
  for (const Path& file : files) std::printf("  %s\n", file.c_str());
}

// Names of files that nobody gives to a folder.
void refuse_file_name(const Path& out) {
  for (const char* extension : {".safetensors", ".bin", ".pt", ".pth", ".json", ".ggml"}) {
    if (out.extension() == extension)
      fail(ErrorCode::kInvalidArgument,
           "{}: OUT is a name ending in .gguf, or that of a folder to make; Dure writes no {} file "
           "by itself",
           out.string(), extension);
  }
}

// A PEFT folder to a GGUF adapter and back.
int convert_adapter(const ConvertArgs& args) {
  const Path out = args.out;
  if (!args.base)
    fail(ErrorCode::kInvalidArgument, "{} is an adapter: say to which model (--base)", args.in);
  for (const auto& [name, given] : {std::pair("--type", args.type.has_value()),
                                    {"--part-size", args.part_size.has_value()},
                                    {"--adapter", args.adapter.has_value()}}) {
    if (given)
      fail(ErrorCode::kInvalidArgument, "{} is for models; {} is an adapter", name, args.in);
  }
  if (path_exists(out) && (!args.force || std::filesystem::equivalent(args.in, out)))
    fail(ErrorCode::kInvalidArgument,
         "{} is there already; give another name, or --force to replace it", out.string());
  if (path_exists(out) && std::filesystem::is_directory(out) && !is_adapter(out))
    fail(ErrorCode::kInvalidArgument,
         "{}: a folder with other things than an adapter is not "
         "replaced; give another name",
         out.string());
  const ModelConfig config = ModelFiles(find_model(*args.base), Extent::kHeader).config();
  const AdapterContent adapter = read_adapter(args.in, config);
  const AdapterWriteOptions options{.base = adapter.base.empty() ? *args.base : adapter.base};
  const bool gguf = out.extension() == ".gguf";
  if (gguf) {
    write_gguf_adapter(out, config, adapter, options);
  } else {
    write_peft_adapter(out, config, adapter, options);
  }
  std::printf("converted: %s -> %s (%s)\n", args.in.c_str(), out.c_str(),
              gguf ? "an adapter for llama.cpp" : "an adapter as PEFT has it");
  return 0;
}

int convert(const ConvertArgs& args) {
  const Path out = args.out;
  refuse_file_name(out);
  if (is_adapter(args.in)) return convert_adapter(args);
  if (args.base) fail(ErrorCode::kInvalidArgument, "--base is for adapters; {} is none", args.in);
  ConvertOptions options;
  if (args.type) options.dtype = parse_type(*args.type);
  if (args.part_size) options.part_bytes_max = parse_size(*args.part_size);
  options.replace = args.force;
  const ModelFiles files(find_model(args.in));
  std::optional<AdapterMerger> merger;
  if (args.adapter) {
    CpuStream stream;
    merger.emplace(open_adapter(*args.adapter, files.config(), stream), files.config());
    options.adapter = &*merger;
  }
  const bool gguf = out.extension() == ".gguf";
  const std::vector<Path> written =
      gguf ? convert_to_gguf(files, out, options) : convert_to_folder(files, out, options);
  say_written(files.path(), out, written);
  return 0;
}

}  // namespace

std::function<int()> declare_convert(Args& args) {
  auto options = std::make_shared<ConvertArgs>();
  args.positional("IN", options->in,
                  "a model's folder, GGUF file (the first of a set) or repo id; or an adapter");
  args.positional("OUT", options->out, "a name ending in .gguf, or else a folder to make");
  args.option(
      "--type", options->type,
      "f32, f16 or bf16 for all weights (default: as stored; blocks in a folder become f32)");
  args.option("--part-size", options->part_size,
              "split into files of at most this size, such as 5GB");
  args.option("--adapter", options->adapter,
              "merge this adapter (a PEFT folder or a GGUF file): W + scale * B A in f32, then "
              "rounded to the type that is written");
  args.option("--base", options->base,
              "IN is an adapter, to this model: from one kind to the other");
  args.flag("--force", options->force,
            "replace what is there under OUT's names (never the model's own files)");
  args.examples(
      "dure convert ./release model.gguf\ndure convert model.gguf ./folder --type bf16\ndure "
      "convert big.gguf big-split.gguf --part-size 40GB\ndure convert ./release merged.gguf "
      "--adapter "
      "runs/tuned/adapter --type f32\ndure convert runs/tuned/adapter tuned.gguf --base ./release");
  return [options] { return convert(*options); };
}

}  // namespace dure
