#!/usr/bin/env python3
"""Scores of lm-evaluation-harness for fixed synthetic answers, as cases for tests/suites/scoring_golden_test.cc.

    tests/interop/scoring.py OUT.jsonl                 invented items (tests/golden/scoring.jsonl is its output)
    tests/interop/scoring.py OUT.jsonl --data FOLDER   published items below FOLDER (arc, gsm8k, mmlu); then
        QUANTFLEET_SCORING_CASES=OUT.jsonl build/release/bin/suites_test "[scoring]"

A case is a line with the task, the item, the answer (text, or log-likelihoods) and what the harness makes of it; for tasks without
random examples also the context it asks with. The harness' own task files are used; only where the items come from is changed.
"""
import argparse
import csv
import glob
import json
import os
import random
import sys
import tempfile

try:
    import lm_eval
    import yaml
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.filters import build_filter_ensemble
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(0)

TASKS = os.path.join(os.path.dirname(lm_eval.__file__), "tasks")


def config_of(path):
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: None)
    with open(os.path.join(TASKS, path)) as file:
        config = yaml.load(file, Loader)
    for included in [config.pop("include")] if isinstance(config.get("include"), str) else []:
        config = config_of(os.path.join(os.path.dirname(path), included)) | config
    return config


def task_of(path, splits, folder, **changes):
    """The harness' task over our documents."""
    files = {}
    for split, documents in splits.items():
        files[split] = os.path.join(folder, f"{len(os.listdir(folder))}.jsonl")
        with open(files[split], "w") as file:
            file.writelines(json.dumps(document) + "\n" for document in documents)
    config = config_of(path)
    for key in ("dataset_name", "tag", "training_split", "validation_split", "fewshot_split", "should_decontaminate", "doc_to_decontamination_query"):
        config.pop(key, None)
    config |= {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": files}, "test_split": "test"} | changes
    return ConfigurableTask(config=config)


def log_likelihoods(generator, count):
    return [round(generator.uniform(-30, -1), 3) for _ in range(count)]


def choice_cases(name, task, document, item, generator, shots):
    context = task.fewshot_context(document, num_fewshot=shots)
    choices = task.doc_to_choice(document)
    values = log_likelihoods(generator, len(choices))
    if generator.random() < 0.2:
        values[1] = values[0] = max(values)  # a tie
    scores = task.process_results(document, [(value, False) for value in values])
    case = {"task": name, "item": item, "context": context, "continuations": [" " + choice for choice in choices], "loglikelihoods": values, "accuracy": int(scores["acc"])}
    if "acc_norm" in scores:
        case["accuracy_norm"] = int(scores["acc_norm"])
    return case


def gsm8k_answers(gold, generator):
    number = gold.split("#### ")[-1]
    plain = number.replace(",", "")
    yield gold
    yield f" First we add.\n#### {plain}"
    yield f" It is {number}."
    yield f"\n#### {plain}."
    yield f"\n#### ${number}"
    yield f"\n#### {number}\n#### 7"
    yield f"\n####{plain}"
    yield f"\n#### {plain}.0"
    yield f"\n#### -{plain}"
    yield f"\n#### {plain[:-1]}"
    yield ""
    yield "####"
    yield f"\n#### {generator.randint(0, 10**6):,} apples"


def invented(generator):
    words = "river stone lamp coat bread wolf paper glass cloud rope".split()
    sentence = lambda count: " ".join(generator.choice(words) for _ in range(count))
    arc = []
    for i in range(60):
        count = generator.choice([3, 4, 4, 4, 5])
        labels = list("ABCDE"[:count]) if generator.random() < 0.8 else [str(n + 1) for n in range(count)]
        texts = [sentence(generator.randint(1, 6)) + generator.choice(["", ".", " äöü", " \u2013 7"]) for _ in range(count)]
        arc.append({"id": f"q{i}", "question": {"stem": sentence(8) + "?", "choices": [{"text": t, "label": l} for t, l in zip(texts, labels)]}, "answerKey": generator.choice(labels)})
    gsm8k = [{"question": sentence(12) + "?", "answer": f"{sentence(5)} <<1+1=2>>2\n#### {number}"} for number in ("18", "1,080", "-5", "109,200,000", "0", "3.5")]
    rows = lambda count: [[sentence(7) + "?" + generator.choice(["", " ", "\nSecond line"]), *(generator.choice(["True", "None", "0", sentence(2)]) + str(k) for k in range(4)), generator.choice("ABCD")] for _ in range(count)]
    mmlu = {subject: (rows(20), rows(5)) for subject in ("abstract_algebra", "high_school_macroeconomics")}
    return arc, gsm8k, mmlu


def published(root):
    lines = lambda path: [json.loads(line) for line in open(os.path.join(root, path), encoding="utf-8", newline="\n").read().split("\n") if line]
    mmlu = {}
    for path in sorted(glob.glob(os.path.join(root, "mmlu/data/test/*.csv"))):
        subject = os.path.basename(path)[: -len("_test.csv")]
        read = lambda name: [row for row in csv.reader(open(name, encoding="utf-8", newline=""))]
        mmlu[subject] = (read(path), read(path.replace("test", "dev")))
    return lines("arc/ARC-Challenge-Test.jsonl"), lines("gsm8k/test.jsonl"), mmlu


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--data")
    options = parser.parse_args()
    generator = random.Random(1234)
    arc, gsm8k, mmlu = published(options.data) if options.data else invented(generator)
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        as_published = lambda d: {"question": d["question"]["stem"], "choices": {k: [c[k] for c in d["question"]["choices"]] for k in ("text", "label")}, "answerKey": d["answerKey"]}
        documents = [as_published(document) for document in arc]
        task = task_of("arc/arc_challenge.yaml", {"test": documents}, folder)
        for document, item in zip(documents, arc):
            cases.append(choice_cases("arc_challenge", task, document, item, generator, 0))

        config = config_of("gsm8k/gsm8k.yaml")
        task = task_of("gsm8k/gsm8k.yaml", {"test": gsm8k}, folder, num_fewshot=0)
        strict = next(one for one in config["filter_list"] if one["name"] == "strict-match")
        steps = [(step["function"], {key: value for key, value in step.items() if key != "function"}) for step in strict["filter"]]
        for number, document in enumerate(gsm8k):
            for answer in gsm8k_answers(document["answer"], generator):
                from lm_eval.api.instance import Instance

                request = Instance(request_type="generate_until", doc=document, arguments=("", {}), idx=0)
                request.resps = [answer]
                build_filter_ensemble("strict-match", steps).apply([request])
                score = task.process_results(document, [request.filtered_resps["strict-match"]])["exact_match"]
                cases.append({"task": "gsm8k", "item": document, "response": answer, "accuracy": int(score)})

        for subject, (test, dev) in mmlu.items():
            as_harness = lambda rows: [{"question": r[0], "choices": r[1:5], "answer": "ABCD".index(r[5]), "subject": subject} for r in rows]
            task = task_of("mmlu/default/_default_template_yaml", {"test": as_harness(test), "dev": as_harness(dev)}, folder, task="mmlu_" + subject,
                           fewshot_split="dev", description=f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n")
            item = lambda r: dict(zip(("question", "a", "b", "c", "d", "answer"), r)) | {"subject": subject}
            for row, document in zip(test, as_harness(test)):
                case = choice_cases("mmlu", task, document, item(row), generator, 5)
                cases.append(case | {"examples": [item(r) for r in dev]})
    with open(options.out, "w") as file:
        for case in cases:
            file.write(json.dumps(case | {"harness": lm_eval.__version__ if hasattr(lm_eval, "__version__") else "0.4.13"}) + "\n")
    print(f"{len(cases)} cases")
    return 0


if __name__ == "__main__":
    sys.exit(main())
