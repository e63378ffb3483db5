// quantfleet key: CURVE key pairs, and the coordinator's list of the agents it admits.
#include "cli/commands.h"
#include "coordinator/transport/keys.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <memory>

namespace quantfleet::cli {

std::function<int()> add_key(CLI::App& app) {
  struct Options {
    std::string name, key;
    std::filesystem::path out = ".";
    std::filesystem::path state = "quantfleet-coordinator";
    bool json = false;
    std::function<int()> run;
  };
  auto o = std::make_shared<Options>();
  app.require_subcommand(1);

  CLI::App* make = app.add_subcommand("new", "make a key pair: NAME.public to show around, NAME.secret (mode 0600) to keep");
  make->add_option("NAME", o->name, "of the two files")->required();
  make->add_option("--out", o->out, "folder for them")->capture_default_str();
  make->add_flag("--json", o->json, "one JSON document on stdout (docs/schemas/key_new.json)");
  make->callback([o] {
    o->run = [o] {
      if (o->name.find('/') != std::string::npos) throw BadResult({Code::kUsage, fmt::format("{}: is no name of a file; --out chooses the folder", o->name)});
      const coordinator::KeyPair pair = coordinator::new_key_pair(o->out, o->name).value();
      if (o->json)
        fmt::print("{}\n", nlohmann::json{{"public_key", pair.public_z85}, {"folder", o->out.string()}, {"name", o->name}}.dump(2));
      else fmt::print("{}\n", pair.public_z85);
      return 0;
    };
  });

  CLI::App* show = app.add_subcommand("show", "the public key of a pair, or of the coordinator's state folder");
  show->add_option("FILE", o->key, "a .public or .secret file [the coordinator's own key]");
  show->add_option("--state", o->state, "the coordinator's state folder")->envname("QUANTFLEET_STATE")->capture_default_str();
  show->add_flag("--json", o->json, "one JSON document on stdout, with the keys that are trusted (docs/schemas/key_show.json)");
  show->callback([o] {
    o->run = [o] {
      std::filesystem::path file = o->key.empty() ? o->state / "keys" / "coordinator.public" : std::filesystem::path(o->key);
      std::string key;
      if (file.extension() == ".secret") key = coordinator::read_key_pair(file.parent_path(), file.stem().string()).value().public_z85;
      else key = coordinator::public_key_from(file.string()).value();
      if (!o->json) {
        fmt::print("{}\n", key);
        return 0;
      }
      nlohmann::json trusted = nlohmann::json::array();
      if (o->key.empty())
        for (const auto& [known, name] : coordinator::read_trusted_keys(o->state / "keys" / "trusted.keys").value())
          trusted.push_back({{"public_key", known}, {"name", name}});
      fmt::print("{}\n", nlohmann::json{{"public_key", key}, {"trusted", trusted}}.dump(2));
      return 0;
    };
  });

  CLI::App* trust = app.add_subcommand("trust", "admit an agent; a running coordinator notices");
  trust->add_option("KEY", o->key, "its public key, or a file with it")->required();
  trust->add_option("--name", o->name, "who that is");
  trust->add_option("--state", o->state, "the coordinator's state folder")->envname("QUANTFLEET_STATE")->capture_default_str();
  trust->callback([o] {
    o->run = [o] {
      const std::string key = coordinator::public_key_from(o->key).value();
      coordinator::trust_key(o->state / "keys" / "trusted.keys", key, o->name).value();
      return 0;
    };
  });
  return [o] { return o->run(); };
}

}  // namespace quantfleet::cli
