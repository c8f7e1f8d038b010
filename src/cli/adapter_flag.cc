// One adapter from the command line to the opened model.
#include "cli/adapter_flag.h"

#include "base/check.h"
#include "base/error.h"
#include "cli/named_path.h"

namespace dure {

void AdapterFlag::declare(Args& args, const char* help) { args.option("--adapter", given, help); }

void AdapterFlag::declare(Args& args) {
  declare(args,
          "an adapter to the model, which stays as it is stored: a PEFT folder or a GGUF file, "
          "PATH or NAME=PATH");
}

std::string AdapterFlag::path() const { return given ? named_path(*given, "--adapter").path : ""; }

std::string AdapterFlag::with_text() const {
  return given ? " with " + named_path(*given, "--adapter").name : "";
}

void AdapterFlag::add_to(OpenModel& model) const {
  if (given) add_adapter(model, path());
}

std::string adapter_fingerprint(const OpenModel& model) {
  DURE_CHECK(model.weights.adapter != nullptr, "no adapter");
  return fmt::format("{:016x}", model.weights.adapter->fingerprint);
}

}  // namespace dure
