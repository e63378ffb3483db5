#!/usr/bin/env python3
"""Small SentencePiece models and the ids that sentencepiece and tokenizers give with them: writes tests/golden/sentencepiece.

    tests/interop/sentencepiece_models.py QUANTFLEET           compares our ids with theirs; exit code 0 also where a package is missing
    tests/interop/sentencepiece_models.py --golden             trains the models and writes cases.json beside them
"""
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile

try:
    import sentencepiece
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(0)

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "..", "golden", "sentencepiece")
MODEL = os.path.join(HERE, "..", "golden", "huggingface", "llama")
WORDS = ["river", "mill", "boat", "past", "the", "old", "runs", "waits", "twelve", "harbour", "light", "night", "under", "over", "stone", "bridge", "walking", "walked"]
TEXTS = [
    "The river runs past the old mill", " leading", "trailing ", "two  spaces   three", "tabs\tand\nlines\n\n", "waits, waited; waiting!", "12 boats at 3.50", "Grüße aus Zürich",
    "ＦＵＬＬ width ﬁne ½", "日本語と中文", "emoji 😀👍", "", " ", "a", "qqqq zzzz xqz", "<s> is not special here", "under\u00a0the\u3000bridge", "“quoted” — dashes…", "don't can't it's",
    "aaaaaaaaaaaaaaaa", "éé e\u0301", "the the the the", "WALKING walked Walk",
]


def corpus():
    for i in range(400):
        yield " ".join(WORDS[(i * k + k * k) % len(WORDS)] for k in range(1, 3 + i % 7)) + "."
    yield from TEXTS[:3]


def train(path, rules=None, **options):
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as scratch:
        if rules is not None:
            table = os.path.join(scratch, "rules.tsv")
            with open(table, "w") as file:
                for source, target in rules:
                    file.write(" ".join(f"{ord(c):X}" for c in source) + "\t" + " ".join(f"{ord(c):X}" for c in target) + "\n")
            options["normalization_rule_tsv"] = table
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(list(corpus())), model_writer=model, minloglevel=2, hard_vocab_limit=False, **options)
    with open(path, "wb") as file:
        file.write(model.getvalue())


RULES = [("\t", " "), ("\n", " "), ("\u00a0", " "), ("\u3000", " "), ("ﬁ", "fi"), ("½", "1/2"), ("…", "..."), ("e\u0301", "é"), ("Ｆ", "F"), ("Ｕ", "U"), ("Ｌ", "L")]


def main():
    if "--golden" in sys.argv:
        os.makedirs(FOLDER, exist_ok=True)
        train(os.path.join(FOLDER, "unigram.model"), rules=RULES, model_type="unigram", vocab_size=160)
        train(os.path.join(FOLDER, "unigram_bytes.model"), model_type="unigram", vocab_size=288, byte_fallback=True, normalization_rule_name="identity",
              remove_extra_whitespaces=False)
        train(os.path.join(FOLDER, "bpe.model"), model_type="bpe", vocab_size=288, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False)
        cases = {}
        for name in ("unigram", "unigram_bytes", "bpe"):
            processor = sentencepiece.SentencePieceProcessor(model_file=os.path.join(FOLDER, name + ".model"))
            cases[name] = {"made_by": f"sentencepiece {sentencepiece.__version__}", "cases": [{"text": text, "ids": processor.encode(text)} for text in TEXTS]}
        # The same vocabulary as a tokenizer.json.
        processor = sentencepiece.SentencePieceProcessor(model_file=os.path.join(FOLDER, "unigram.model"))
        from sentencepiece import sentencepiece_model_pb2 as proto

        message = proto.ModelProto()
        with open(os.path.join(FOLDER, "unigram.model"), "rb") as file:
            message.ParseFromString(file.read())
        tokenizer = Tokenizer(models.Unigram([(piece.piece, piece.score) for piece in message.pieces], unk_id=processor.unk_id()))
        tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(message.normalizer_spec.precompiled_charsmap), normalizers.Strip(left=False, right=True),
                                                     normalizers.Replace(Regex(" {2,}"), "▁")])
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        tokenizer.add_special_tokens(["<s>", "</s>"])
        tokenizer.save(os.path.join(FOLDER, "unigram.json"))
        import tokenizers

        cases["unigram.json"] = {"made_by": f"tokenizers {tokenizers.__version__}",
                                 "cases": [{"text": text, "ids": tokenizer.encode(text).ids} for text in TEXTS if "<s>" not in text]}
        with open(os.path.join(FOLDER, "cases.json"), "w") as file:
            json.dump(cases, file, ensure_ascii=False, indent=0)
        return 0
    with open(os.path.join(FOLDER, "cases.json")) as file:
        golden = json.load(file)
    failures = 0
    for name, one in golden.items():
        with tempfile.TemporaryDirectory() as folder:
            for file in ("config.json", "model.safetensors"):
                shutil.copy(os.path.join(MODEL, file), folder)
            shutil.copy(os.path.join(FOLDER, name if name.endswith(".json") else name + ".model"), os.path.join(folder, "tokenizer.json" if name.endswith(".json") else "tokenizer.model"))
            lines = "".join(json.dumps({"text": case["text"]}) + "\n" for case in one["cases"])
            encoded = subprocess.run([sys.argv[1], "tokenize", folder, "--jsonl", "-"], input=lines.encode(), capture_output=True)
            ours = [json.loads(line)["ids"] for line in encoded.stdout.splitlines()]
            wrong = [case for case, ids in zip(one["cases"], ours) if case["ids"] != ids] if len(ours) == len(one["cases"]) else one["cases"]
            failures += bool(wrong)
            print(f"{name:15} {len(one['cases']) - len(wrong)} of {len(one['cases'])} texts as {one['made_by']} {'ok' if not wrong else 'DIFFERENT: ' + repr(wrong[0]['text']) + encoded.stderr.decode()[:300]}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
