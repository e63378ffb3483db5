#!/usr/bin/env python3
"""Scores of lm-evaluation-harness for fixed synthetic answers, as cases for tests/suites/scoring_golden_test.cc.

    tests/interop/scoring.py OUT.jsonl                 invented items (tests/golden/scoring.jsonl is its output)
    tests/interop/scoring.py OUT.jsonl --data FOLDER   published items below FOLDER; then
        QUANTFLEET_SCORING_CASES=OUT.jsonl build/release/bin/suites_test "[scoring]"

Needs: pip install lm-eval sympy antlr4-python3-runtime==4.11 math_verify langdetect immutabledict nltk sacrebleu rouge_score
and, for the instructions that count sentences or capital words, NLTK's punkt_tab below NLTK_DATA (without it they are left out).

Cases whose scores differ, and why: tests/golden/scoring_explained.txt, by id. A change here that moves ids moves them there, too.

A case is a line: its id, the task of ours, the record as its authors' file has it (of which `edition` of the task's import), the answer (text,
or log-likelihoods), and what the harness makes of it: the requests it would send (context, continuations) and the scores. The
harness' own task files and functions are used; only where the items come from is changed.
"""
import argparse
import csv
import glob
import importlib.util
import json
import os
import random
import re
import sys
import tempfile

try:
    import lm_eval
    import yaml
    from lm_eval.api.instance import Instance
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.filters import build_filter_ensemble
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(0)

TASKS = os.path.join(os.path.dirname(lm_eval.__file__), "tasks")
MODULES = {}


def module_of(path):
    if path not in MODULES:
        spec = importlib.util.spec_from_file_location("harness_" + str(len(MODULES)), path)
        MODULES[path] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(MODULES[path])
    return MODULES[path]


def config_of(path):
    folder = os.path.dirname(os.path.join(TASKS, path))

    class Loader(yaml.SafeLoader):
        pass

    def function(loader, node):
        module, name = loader.construct_scalar(node).rsplit(".", 1)
        return getattr(module_of(os.path.join(folder, module + ".py")), name)

    Loader.add_constructor("!function", function)
    with open(os.path.join(TASKS, path)) as file:
        config = yaml.load(file, Loader)
    if isinstance(config.get("include"), str):
        config = config_of(os.path.join(os.path.dirname(path), config.pop("include"))) | config
    return config


class Harness:
    """One of the harness' tasks over our documents."""

    def __init__(self, path, documents, shots=0, examples=None, **changes):
        self.config = config_of(path)
        self.shots = shots
        for key in ("dataset_name", "tag", "training_split", "validation_split", "fewshot_split", "should_decontaminate", "doc_to_decontamination_query",
                    "include", "unsafe_code", "task_alias"):
            self.config.pop(key, None)
        self.folder = tempfile.TemporaryDirectory()
        files = {}
        for split, rows in {"test": documents, **({"dev": examples} if examples else {})}.items():
            files[split] = os.path.join(self.folder.name, split + ".jsonl")
            with open(files[split], "w") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
        if examples:
            self.config |= {"fewshot_split": "dev"}
        self.config |= {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": files}, "test_split": "test"} | changes
        self.filters = self.config.get("filter_list")
        self.task = ConfigurableTask(config=dict(self.config))
        self.documents = list(self.task.test_docs())
        if self.config.get("process_docs") and "test" in self.task.dataset:
            pass  # test_docs applied it

    def context(self, document):
        return self.task.fewshot_context(document, num_fewshot=self.shots)

    def requests(self, document):
        made = self.task.construct_requests(document, self.context(document), metadata=(None, None, None))
        return [one.args for one in (made if isinstance(made, list) else [made])]

    def filtered(self, document, answer):
        """The answer after each of the task's filters, by name."""
        if not self.filters:
            return {"none": answer}
        given = {}
        for one in self.filters:
            steps = [(step["function"], {k: v for k, v in step.items() if k != "function"}) for step in one["filter"]]
            request = Instance(request_type="generate_until", doc=document, arguments=("", {}), idx=0)
            request.resps = [answer]
            build_filter_ensemble(one["name"], steps).apply([request])
            given[one["name"]] = request.filtered_resps[one["name"]]
        return given

    def marks(self, document, answer):
        return {name: self.task.process_results(document, [text]) for name, text in self.filtered(document, answer).items()}


def log_likelihoods(generator, count):
    values = [round(generator.uniform(-30, -1), 3) for _ in range(count)]
    if count > 1 and generator.random() < 0.2:
        values[1] = values[0] = max(values)  # a tie
    return values


def number(value):
    return float(value)


def choice_cases(name, harness, items, generator, scores, compare_context=True, **more):
    for document, item in zip(harness.documents, items):
        requests = harness.requests(document)
        values = log_likelihoods(generator, len(requests))
        result = harness.task.process_results(document, [(value, False) for value in values])
        case = {"task": name, "item": item, "continuations": [continuation for _, continuation in requests], "loglikelihoods": values,
                "scores": {ours: number(result[theirs]) for ours, theirs in scores.items() if theirs in result}} | more
        contexts = [context for context, _ in requests]
        if compare_context:
            case |= {"context": contexts[0]} if len(set(contexts)) == 1 else {"contexts": contexts}
        yield case


def text_cases(name, harness, items, answers, scores, compare_context=True, **more):
    """scores: ours -> (filter, metric)."""
    for document, item in zip(harness.documents, items):
        context = harness.context(document)
        for answer in answers(document):
            marks = harness.marks(document, answer)
            case = {"task": name, "item": item, "response": answer, "scores": {ours: number(marks[which][metric]) for ours, (which, metric) in scores.items()}} | more
            if compare_context:
                case["context"] = context
            yield case


# ---- synthetic answers -------------------------------------------------------------------------------------------------


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


def alias_answers(aliases, generator):
    gold = aliases[0]
    yield " " + gold
    yield gold.upper()
    yield " the " + gold
    yield "The " + gold
    yield "\t" + gold.lower() + "!"
    yield gold + " "
    yield gold[: max(1, len(gold) - 1)]
    yield " " + generator.choice(aliases).replace(" ", "-")
    yield ""
    yield " An answer nobody asked for"
    yield gold.swapcase()


def math_answers(boxed, generator):
    yield f" ${boxed}$."
    yield boxed
    yield f" The answer is $x = {boxed}$ and $y$"
    yield f" ${boxed.replace('frac', 'dfrac')}$"
    yield f" ${boxed} \\text{{ units}}$"
    yield f" $k={boxed}$"
    yield f" ${boxed}\\%$"
    yield " $0.5$"
    yield " $1/2$"
    yield " $\\frac12$"
    yield " $\\sqrt3$"
    yield f" ${boxed[:-1]}$"
    yield ""
    yield "$"
    yield f" $\\left({boxed}\\right)$"


def minerva_answers(boxed, generator):
    phrase = lambda answer: f" We see.\nFinal Answer: The final answer is ${answer}$. I hope it is correct."
    yield phrase(boxed)
    yield f" Final Answer: The final answer is {boxed}. I hope it is correct.\n\n"
    yield phrase(boxed.replace("frac", "dfrac"))
    yield phrase("x = " + boxed)
    yield phrase(boxed + " \\text{ cm}")
    yield phrase(boxed + " dollars")
    yield phrase(f"{boxed}+0")
    yield phrase(f"2\\cdot({boxed})-({boxed})")
    yield phrase(f"\\frac{{{boxed}}}{{1}}")
    yield phrase(boxed + "1")
    yield phrase("1,080")
    yield phrase("\\frac{3}{6}")
    yield phrase("0.5")
    yield phrase("")
    yield f" The answer is ${boxed}$."
    yield f" Final Answer: The final answer is ${boxed}"


def instruction_cases(items, answers):
    harness = Harness("ifeval/ifeval.yaml", items)
    for document, item in zip(harness.documents, items):
        kwargs = [{k: v for k, v in arguments.items() if v is not None} for arguments in document["kwargs"]]
        document = dict(document) | {"kwargs": kwargs}
        if any("letter" in arguments and not arguments["letter"].isalpha() for arguments in kwargs):
            continue  # the harness draws a letter
        for answer in answers(document):
            try:
                result = harness.task.process_results(document, [answer])
            except LookupError:  # NLTK's data are not here
                yield {"task": "ifeval", "left_out": True}
                continue
            strict, loose = result["inst_level_strict_acc"], result["inst_level_loose_acc"]
            yield {"task": "ifeval", "item": item, "response": answer, "context": document["prompt"],
                   "scores": {"accuracy": number(result["prompt_level_strict_acc"]), "accuracy_loose": number(result["prompt_level_loose_acc"]), "instructions": len(strict), "instructions_strict": sum(strict), "instructions_loose": sum(loose)}}


def counting_item(key, text):
    """Followed by `text` alone where it has just as many sentences and capital words as NLTK counts."""
    import nltk

    try:
        sentences = module_of(os.path.join(TASKS, "ifeval/instructions_util.py")).count_sentences(text)
        capitals = sum(word.isupper() for word in nltk.word_tokenize(text))
    except LookupError:
        sentences = capitals = 0
    asked = [("length_constraints:number_sentences", {"num_sentences": n, "relation": r}) for n, r in ((sentences, "at least"), (sentences + 1, "less than"))]
    asked += [("change_case:capital_word_frequency", {"capital_frequency": n, "capital_relation": r}) for n, r in ((capitals, "at least"), (capitals + 1, "less than")) if n]
    return {"key": key, "prompt": "Count.", "instruction_id_list": [name for name, _ in asked], "kwargs": [arguments for _, arguments in asked]}  # a 0 counts as missing


COUNTED_TEXTS = [
    "One. Two? Three!",
    "Dr. Smith met Mr. J. Smith at 5 p.m. sharp.",
    "They left at 5 p.m. The shop was shut. It was OK.",
    "Box A is red. Box C. One more.",
    "It is of type A. One more.",
    "Juice Box A. Juice is sweet.",
    "lower case. follows, e.g. here",
    "1. do this 2. Do that\n3. and THIS\n\n4. END",
    "\"No!\" he said. (Yes.) Then (maybe.) \"GO!\" said HE.",
    "\u201cNo.\u201d He left... He came back. \u201cI\u2019M HERE,\u201d she said.",
    "Hello!!! World... what?! really?? Yes.",
    "Version 3.5.1 of a.b.c is here. See U.S. News. In 1845. the end",
    "It costs 3.50 dollars. \"Really?\" Yes. DON'T STOP, A-B (NOW)! i.e. stop",
    "Items:\n- First one.\n- Second one!\n* THIRD ONE?\n\nDone",
    "X. Y. Zed wrote it in Dec. 1999. Then he rested... and slept. P.S. BYE",
]

IFEVAL_TEXTS = [
    "I think so. It is 5 p.m. now and I am Bob.\n\nHere is more text, with commas, and so on!\n\nP.S. one last thing",
    "*First* point\n* bullet one\n* bullet two\n- bullet three\n\n***\n\nSecond part [name] [address]\n***\nThird",
    "THIS IS ALL IN CAPITAL LETTERS AND IT IS ENGLISH TEXT",
    "this is all in lowercase and it is english text without any comma",
    "```json\n{\"answer\": [1, 2, 3]}\n```",
    "<<A title>>\n\nSection 1\ntext of it\nSection 2\nmore text\nSection 3 end",
    "\"Everything is quoted here\"",
    "My answer is yes. Is there anything else I can help with?",
    "One response here\n******\nAnother response there",
    "**bold text** and *highlighted section part 1* and *highlighted section part 2* and *highlighted section part 3*",
    "Das ist ein Satz und er ist nicht auf Englisch, denn die Sprache ist eine andere.",
    "word " * 310,
    "Paragraph one begins.\n\nWeekend is the first word here.\n\nThird one.\n\nFourth one.",
    "",
    "   \n  ",
    "P.P.S I forgot. Any other words? keyword Keyword KEYWORD",
    "{\"a\": 1}\nHope you agree with me.",
]


# ---- items -------------------------------------------------------------------------------------------------------------


def invented(generator):
    words = "river stone lamp coat bread wolf paper glass cloud rope".split()
    sentence = lambda count: " ".join(generator.choice(words) for _ in range(count))
    data = {}
    arc = []
    for i in range(30):
        count = generator.choice([3, 4, 4, 4, 5])
        labels = list("ABCDE"[:count]) if generator.random() < 0.8 else [str(n + 1) for n in range(count)]
        texts = [sentence(generator.randint(1, 6)) + generator.choice(["", ".", " äöü", " \u2013 7"]) for _ in range(count)]
        arc.append({"id": f"q{i}", "question": {"stem": sentence(8) + "?", "choices": [{"text": t, "label": l} for t, l in zip(texts, labels)]}, "answerKey": generator.choice(labels)})
    data["arc"] = arc
    data["gsm8k"] = [{"question": sentence(12) + "?", "answer": f"{sentence(5)} <<1+1=2>>2\n#### {number}"} for number in ("18", "1,080", "-5", "109,200,000", "0", "3.5")]
    rows = lambda count: [[sentence(7) + "?" + generator.choice(["", " ", "\nSecond line"]), *(generator.choice(["True", "None", "0", sentence(2)]) + str(k) for k in range(4)), generator.choice("ABCD")] for _ in range(count)]
    data["mmlu"] = {subject: (rows(12), rows(5)) for subject in ("abstract_algebra", "high_school_macroeconomics")}
    data["mmlu"]["high_school_macroeconomics"][1][3] = data["mmlu"]["high_school_macroeconomics"][1][0]  # as in college_physics
    data["hellaswag"] = [{"activity_label": "Washing [x] hands", "ctx_a": f"A man  [title] {sentence(5)}.", "ctx_b": generator.choice(["then HE", "", "the Étude"]),
                          "endings": [f" {sentence(4)} [substeps] {sentence(2)}  äö.", sentence(3) + " [title] x", f"[step] {sentence(6)}", sentence(2)], "label": str(i % 4), "ind": i} for i in range(15)]
    data["winogrande"] = [{"sentence": f"{sentence(3)} and _ {sentence(4)} .", "option1": words[i], "option2": "the " + words[-i - 1], "answer": str(1 + i % 2)} for i in range(10)]
    data["logiqa"] = [{"label": "abcd"[i % 4], "context": sentence(9) + ".", "question": sentence(5) + "?", "options": [sentence(2 + k) + "." for k in range(4)]} for i in range(10)]
    data["commonsense_qa"] = [{"id": f"c{i}", "question": {"stem": sentence(6) + generator.choice(["?", "? "]), "choices": [{"label": l, "text": sentence(2)} for l in "ABCDE"]}, "answerKey": "ABCDE"[i % 5]} for i in range(10)]
    data["truthfulqa"] = [{"question": sentence(6) + "?", "mc1_targets": {"choices": [sentence(3) + str(k) for k in range(4)], "labels": [1, 0, 0, 0]},
                           "mc2_targets": {"choices": [sentence(3) + str(k) for k in range(2 + i % 5)], "labels": [1] + [k % 2 for k in range(1 + i % 5)]}} for i in range(12)]
    data["lambada_openai"] = [{"text": sentence(9) + generator.choice([" end", " don't", ",\n\n\u201cwhat\u201d", "  two"])} for _ in range(12)]
    data["blimp"] = [{"sentence_good": sentence(5).capitalize() + ".", "sentence_bad": sentence(5).capitalize() + ".", "UID": "x"} for _ in range(12)]
    data["crows_pairs"] = [{"column0": str(i), "sent_more": sentence(7), "sent_less": sentence(7), "stereo_antistereo": generator.choice(["stereo", "antistereo"]), "bias_type": "age", "annotations": "[]", "anon_writer": "a", "anon_annotators": "[]"} for i in range(12)]
    data["wikitext2"] = [f" = {sentence(2)} = \n \n {sentence(6)} , and ( 2 @,@ 000 ) people 's \" {sentence(2)} \" ; it is N @-@ 5 @.@ 5 . {sentence(3)} s ' [ a ] : x ° C ! ? \n = = {sentence(1)} = = \n ' {sentence(2)} ' \n" for _ in range(8)]
    bbq = []
    groups = [(["old", "nonOld"], "Age"), (["F", "M"], "Gender_identity"), (["lowSES-African", "highSES-x"], "Race_x_SES")]
    for i in range(24):
        (pair, category) = groups[i % 3]
        answers = [sentence(2), "The " + sentence(2), generator.choice(["Not known", "Can't be determined", "Not enough info"])]
        info = [["x", pair[0]], ["y", pair[1]], ["unknown", "unknown"]]
        order = [0, 1, 2]
        generator.shuffle(order)
        bbq.append({"example_id": i, "question_index": "1", "question_polarity": ["neg", "nonneg"][i // 3 % 2], "context_condition": ["ambig", "disambig"][i // 6 % 2], "category": category,
                    "answer_info": {f"ans{k}": info[order[k]] for k in range(3)}, "additional_metadata": {"subcategory": "None", "stereotyped_groups": [generator.choice(["old", "F", "low SES", "African"])], "version": "a", "source": ""},
                    "context": sentence(8) + ".", "question": sentence(5) + "?", "ans0": answers[order[0]], "ans1": answers[order[1]], "ans2": answers[order[2]],
                    "label": order.index(2) if i // 6 % 2 == 0 else order.index(i % 2)})
    data["bbq"] = bbq
    data["mgsm"] = [{"question": sentence(9) + "?", "answer": n} for n in ("18", "1080", "-5", "3")]
    shots = [{"question_id": 900 + k, "question": sentence(5) + "?", "options": [sentence(2) for _ in range(10)], "answer": "C", "answer_index": 2, "cot_content": f"A: Let's think step by step. {sentence(4)}. The answer is (C).", "category": "law", "src": "s"} for k in range(5)]
    data["mmlu_pro"] = ([{"question_id": k, "question": sentence(6) + "?", "options": [sentence(2) + " " for _ in range(4 + k)], "answer": "ABCD"[k % 4], "answer_index": k % 4, "cot_content": "", "category": "law", "src": "s"} for k in range(6)], shots)
    data["triviaqa"] = [{"Question": sentence(6), "QuestionId": f"t{i}", "Answer": {"Value": "Stone River", "Aliases": ["Stone River", "The Stone (river)", "ÉTUDE Öl", words[i]]}} for i in range(4)]
    data["nq_open"] = [{"question": sentence(6), "answer": ["the Stone River", "A. Wolf", "14 December 1972"][: 1 + i % 3]} for i in range(4)]
    boxed = ["\\frac{1}{2}", "12", "2\\sqrt{3}", "x^2+3x", "1,080", "(2,5)", "\\text{odd}", "-7", "90^\\circ", "10\\%", "\\dfrac{5}{x}", "0.25"]
    data["math"] = [{"problem": sentence(7), "level": "Level 1", "type": "Algebra", "solution": f"{sentence(4)} $\\boxed{{3}}$ so the answer is $\\boxed{{{b}}}$.", "idx": i} for i, b in enumerate(boxed)]
    data["bbh"] = [{"input": sentence(6) + " is", "target": t} for t in ("True", "(A)", "] ] >", "a b c", "-7")]
    kwargs = [("keywords:existence", {"keywords": ["text", "more"]}), ("keywords:frequency", {"keyword": "keyword", "frequency": 3, "relation": "at least"}), ("keywords:forbidden_words", {"forbidden_words": ["bullet", "one"]}),
              ("keywords:letter_frequency", {"letter": "e", "let_frequency": 6, "let_relation": "less than"}), ("length_constraints:number_paragraphs", {"num_paragraphs": 3}), ("length_constraints:number_words", {"num_words": 300, "relation": "at least"}),
              ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 4, "nth_paragraph": 2, "first_word": "weekend"}), ("detectable_content:number_placeholders", {"num_placeholders": 2}), ("detectable_content:postscript", {"postscript_marker": "P.S."}),
              ("detectable_content:postscript", {"postscript_marker": "P.P.S"}), ("detectable_format:number_bullet_lists", {"num_bullets": 3}), ("detectable_format:constrained_response", {}), ("detectable_format:number_highlighted_sections", {"num_highlights": 3}),
              ("detectable_format:multiple_sections", {"section_spliter": "Section", "num_sections": 3}), ("detectable_format:json_format", {}), ("detectable_format:title", {}), ("combination:two_responses", {}),
              ("combination:repeat_prompt", {"prompt_to_repeat": "this is ALL in"}), ("startend:end_checker", {"end_phrase": "Is there anything else I can help with?"}), ("startend:quotation", {}), ("punctuation:no_comma", {}),
              ("change_case:english_capital", {}), ("change_case:english_lowercase", {}), ("language:response_language", {"language": "de"}), ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "at least"}),
              ("change_case:capital_word_frequency", {"capital_frequency": 4, "capital_relation": "less than"})]
    data["ifeval"] = [{"key": i, "prompt": sentence(6), "instruction_id_list": [name, "punctuation:no_comma"], "kwargs": [arguments, {}]} for i, (name, arguments) in enumerate(kwargs)]
    data["counted"] = COUNTED_TEXTS
    data["cruxeval"] = [{"id": f"s{i}", "code": "def f(x):\n    return x", "input": "[1, 2]", "output": "[1, 2]"} for i in range(2)]
    return data


def published(root):
    text = lambda path: open(os.path.join(root, path), encoding="utf-8", newline="\n").read()
    lines = lambda path: [json.loads(line) for line in text(path).split("\n") if line]
    read = lambda name: [row for row in csv.reader(open(name, encoding="utf-8", newline=""))]
    data = {"arc": lines("arc/ARC-Challenge-Test.jsonl"), "gsm8k": lines("gsm8k/test.jsonl"), "mmlu": {}}
    for path in sorted(glob.glob(os.path.join(root, "mmlu/data/test/*.csv"))):
        data["mmlu"][os.path.basename(path)[: -len("_test.csv")]] = (read(path), read(path.replace("test", "dev")))
    import bz2

    swag = bz2.open(os.path.join(root, "hellaswag__sample50/hellaswag_val_full.txt.bz2"), "rt", encoding="utf-8").read().split("\n")
    data["hellaswag_text"] = [swag[i : i + 6] for i in range(0, len(swag) - 5, 6)]
    data["winogrande_foundry"] = lines("winogrande/winogrande.jsonl")
    data["lambada_openai"] = lines("lambada-openai/lambada_test.jsonl")
    data["lambada_standard"] = [{"text": line} for line in text("lambada-standard__sample50/lambada_test_plain_text.txt").split("\n") if line]
    header, *rows = read(os.path.join(root, "crows-pairs/crows_pairs_anonymized.csv"))
    data["crows_pairs"] = [dict(zip(["column0"] + header[1:], row)) for row in rows]
    pages = []
    for line in text("wikitext2/wiki.test.raw").split("\n"):
        if re.search(r"^ = [^=]+ = $", line):
            pages.append([])
        if pages:
            pages[-1].append(line)
    data["wikitext2"] = ["\n".join(page) + ("\n" if i + 1 < len(pages) else "") for i, page in enumerate(pages)]
    data["triviaqa_foundry"] = lines("triviaqa__sample50/triviaqa_sm_sub.jsonl")
    data["nq_open"] = lines("nq-open/NQ-open.dev.jsonl")
    data["math"] = lines("math__sample50/test.json")
    data["ifeval"] = lines("ifeval__sample50/input_data.jsonl")
    english = [d["question"] for d in data["gsm8k"]] + [d["answer"] for d in data["gsm8k"]] + [d["text"] for d in data["lambada_openai"]] + data["wikitext2"][0].split("\n")
    english += [row[0] for test, _ in data["mmlu"].values() for row in test] + [d["query"] for d in lines("boolq/boolq.jsonl")]
    data["counted"] = COUNTED_TEXTS + [text for text in english[::25] if text.strip()]
    data["cruxeval"] = lines("cruxeval__sample50/cruxeval.jsonl")
    data["bbh_subtasks"] = {}
    for path in sorted(glob.glob(os.path.join(root, "bbh/cot-prompts/*.txt"))):
        subtask = os.path.basename(path)[: -len(".txt")]
        data["bbh_subtasks"][subtask] = (text(path), json.load(open(os.path.join(root, "bbh", subtask + ".json")))["examples"])
    return data


# ---- what is compared --------------------------------------------------------------------------------------------------


def cases_of(data, generator):
    if "arc" in data:
        as_published = lambda d: {"question": d["question"]["stem"], "choices": {k: [c[k] for c in d["question"]["choices"]] for k in ("text", "label")}, "answerKey": d["answerKey"]}
        harness = Harness("arc/arc_challenge.yaml", [as_published(d) for d in data["arc"]])
        yield from choice_cases("arc_challenge", harness, data["arc"], generator, {"accuracy": "acc", "accuracy_norm": "acc_norm"})
    if "gsm8k" in data:
        harness = Harness("gsm8k/gsm8k.yaml", data["gsm8k"], num_fewshot=0)
        scores = {"accuracy": ("strict-match", "exact_match"), "accuracy_flexible": ("flexible-extract", "exact_match")}
        yield from text_cases("gsm8k", harness, data["gsm8k"], lambda d: gsm8k_answers(d["answer"], generator), scores, False)
    for subject, (test, dev) in data.get("mmlu", {}).items():
        as_harness = lambda rows: [{"question": r[0], "choices": r[1:5], "answer": "ABCD".index(r[5]), "subject": subject} for r in rows]
        harness = Harness("mmlu/default/_default_template_yaml", as_harness(test), 5, as_harness(dev), task="mmlu_" + subject,
                          description=f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n")
        item = lambda r: dict(zip(("question", "a", "b", "c", "d", "answer"), r)) | {"subject": subject}
        for case in choice_cases("mmlu", harness, [item(r) for r in test], generator, {"accuracy": "acc"}, imported=True):
            yield case | {"examples": [item(r) for r in dev]}
    norm = {"accuracy": "acc", "accuracy_norm": "acc_norm"}
    if "hellaswag" in data:
        yield from choice_cases("hellaswag", Harness("hellaswag/hellaswag.yaml", data["hellaswag"]), data["hellaswag"], generator, norm)
    if "hellaswag_text" in data:
        rows = [dict(zip(["query", "label", "a", "b", "c", "d"], row)) for row in data["hellaswag_text"]]
        documents = [{"query": row["query"], "choices": [row[k] for k in "abcd"], "label": row["label"]} for row in rows]
        yield from choice_cases("hellaswag", Harness("hellaswag/hellaswag.yaml", documents, process_docs=None), rows, generator, norm, edition=1)
    if "winogrande" in data:
        yield from choice_cases("winogrande", Harness("winogrande/default.yaml", data["winogrande"]), data["winogrande"], generator, {"accuracy": "acc"})
    if "winogrande_foundry" in data:
        documents = []
        for record in data["winogrande_foundry"]:
            before = os.path.commonprefix(record["context_options"])
            before = before[: before.rfind(" ") + 1]
            options = [option[len(before) :] for option in record["context_options"]]
            documents.append({"sentence": before + "_ " + record["continuation"], "option1": options[0], "option2": options[1], "answer": str(record["gold"] + 1)})
        usable = [i for i, d in enumerate(documents) if "_" not in d["sentence"].replace("_", "", 1)[: d["sentence"].index("_")]]
        harness = Harness("winogrande/default.yaml", [documents[i] for i in usable])
        yield from choice_cases("winogrande", harness, [data["winogrande_foundry"][i] for i in usable], generator, {"accuracy": "acc"}, edition=1)
    if "logiqa" in data:
        as_lines = lambda d: {"blank": "", "label": d["label"], "context": d["context"], "question": d["question"]} | {k: k.upper() + "." + o for k, o in zip("abcd", d["options"])}
        yield from choice_cases("logiqa", Harness("logiqa/logiqa.yaml", data["logiqa"]), [as_lines(d) for d in data["logiqa"]], generator, norm)
    if "commonsense_qa" in data:
        documents = [{"question": d["question"]["stem"], "choices": {k: [c[k] for c in d["question"]["choices"]] for k in ("text", "label")}, "answerKey": d["answerKey"]} for d in data["commonsense_qa"]]
        yield from choice_cases("commonsense_qa", Harness("commonsense_qa/default.yaml", documents), data["commonsense_qa"], generator, {"accuracy": "acc"})
    if "truthfulqa" in data:
        for kind in ("mc1", "mc2"):
            yield from choice_cases("truthfulqa_" + kind, Harness(f"truthfulqa/truthfulqa_{kind}.yaml", data["truthfulqa"]), data["truthfulqa"], generator, {"accuracy": "acc"})
    for form in ("openai", "standard"):
        records = data.get("lambada_" + form, [])
        if not records:
            continue
        harness = Harness("lambada/lambada_openai.yaml" if form == "openai" else "lambada/lambada_standard.yaml", records)
        for document, item in zip(harness.documents, records):
            ((context, continuation),) = harness.requests(document)
            value, greedy = round(generator.uniform(-30, -1), 3), generator.random() < 0.5
            result = harness.task.process_results(document, [(value, greedy)])
            yield {"task": "lambada_" + form, "item": item, "context": context, "continuations": [continuation], "loglikelihoods": [value], "greedy": [greedy],
                   "scores": {"accuracy": number(result["acc"]), "nll": -number(result["perplexity"])}}
    if "blimp" in data:
        yield from choice_cases("blimp", Harness("blimp/_template_yaml", data["blimp"], task="blimp_x"), data["blimp"], generator, {"accuracy": "acc"})
    if "crows_pairs" in data:
        harness = Harness("crows_pairs/crows_pairs_english.yaml", data["crows_pairs"])
        yield from choice_cases("crows_pairs", harness, data["crows_pairs"], generator, {"stereotype": "pct_stereotype", "likelihood_difference": "likelihood_diff"})
    if "bbq" in data:
        harness = Harness("bbq/bbq_multiple_choice.yaml", data["bbq"])
        for document, item in zip(harness.documents, data["bbq"]):
            requests = harness.requests(document)
            values = log_likelihoods(generator, len(requests))
            result = harness.task.process_results(document, [(value, False) for value in values])
            accuracy, biased, named, disambiguated = result["amb_bias_score"]
            kind = "disambiguated" if disambiguated else "ambiguous"
            yield {"task": "bbq", "item": item, "context": requests[0][0], "continuations": [c for _, c in requests], "loglikelihoods": values,
                   "scores": {"accuracy": number(result["acc"]), kind: 1.0, kind + "_right": number(accuracy), kind + "_biased": number(biased), kind + "_named": number(named)}}
    if "wikitext2" in data:
        harness = Harness("wikitext/wikitext.yaml", [{"page": page} for page in data["wikitext2"]])
        for document, page in zip(harness.documents, data["wikitext2"]):
            value = round(generator.uniform(-900, -100), 3)
            result = harness.task.process_results(document, [value])
            yield {"task": "wikitext2", "item": {"text": page}, "text": harness.task.doc_to_target(document), "nll": -value, "tokens": 50,
                   "scores": {"nll": -value, "words": number(result["word_perplexity"][1]), "bytes": number(result["byte_perplexity"][1])}}
    if "mgsm" in data:
        documents = [{"question": d["question"], "answer": None, "answer_number": int(d["answer"])} for d in data["mgsm"]]
        harness = Harness("mgsm/direct/mgsm_direct_en.yaml", documents)
        answers = lambda d: (a for a in gsm8k_answers(f"x #### {d['answer_number']}", generator))
        yield from text_cases("mgsm", harness, data["mgsm"], answers, {"accuracy": ("flexible-extract", "exact_match")}, file="mgsm_en.tsv")
    if "mmlu_pro" in data:
        test, dev = data["mmlu_pro"]
        harness = Harness("mmlu_pro/mmlu_pro_law.yaml", test, 5, dev)
        answers = lambda d: (template.format(d["answer"]) for template in (" Thus the answer is ({}).", " So the answer is {}", "answer is (Z)", "The answer is: {}", "", " the answer is (a). The answer is ({})", " {}"))
        for case in text_cases("mmlu_pro", harness, test, answers, {"accuracy": ("custom-extract", "exact_match")}):
            yield case | {"examples": dev}
    for name, edition in (("triviaqa", 0), ("triviaqa_foundry", 1)):
        if name not in data:
            continue
        if edition:
            documents = [{"question": re.sub(r"\??\nAnswer:$", "", d["context"][len("Question: ") :]), "answer": {"aliases": d["aliases"]}} for d in data[name]]
        else:
            documents = [{"question": d["Question"], "answer": {"aliases": d["Answer"]["Aliases"]}} for d in data[name]]
        harness = Harness("triviaqa/default.yaml", documents)
        yield from text_cases("triviaqa", harness, data[name], lambda d: alias_answers(d["answer"]["aliases"], generator), {"accuracy": ("remove_whitespace", "exact_match")}, edition=edition)
    if "nq_open" in data:
        harness = Harness("nq_open/nq_open.yaml", data["nq_open"])
        yield from text_cases("nq_open", harness, data["nq_open"], lambda d: alias_answers(d["answer"], generator), {"accuracy": ("remove_whitespace", "exact_match")})
    if "math" in data:
        minerva = module_of(os.path.join(TASKS, "minerva_math/utils.py"))
        five_seconds = minerva.timeout  # by the clock on the wall: on a busy machine equal answers would count as wrong
        minerva.timeout = lambda seconds: five_seconds(seconds=600)
        for name, path, answers in (("hendrycks_math", "hendrycks_math/hendrycks_math_algebra.yaml", math_answers), ("minerva_math", "minerva_math/minerva_math_algebra.yaml", minerva_answers)):
            harness = Harness(path, data["math"], fewshot_config=None, num_fewshot=0)
            boxed = {d["problem"]: module_of(os.path.join(TASKS, "hendrycks_math/utils.py")) for d in data["math"]}
            util = module_of(os.path.join(TASKS, "hendrycks_math/utils.py"))
            gold = lambda d: util.remove_boxed(util.last_boxed_only_string(d["solution"]))
            yield from text_cases(name, harness, data["math"], lambda d: answers(gold(d), generator), {"accuracy": ("none", "exact_match")}, name == "hendrycks_math", edition=1)
    bbh_answers = lambda d: (template.format(d["target"]) for template in (" So the answer is {}.", " So the answer is {}", " the answer is {}.\nthe answer is 7.", " The answer is {}.", "{}", "", " So the answer is  {} .", " so the answer is {}!"))
    if "bbh" in data:
        harness = Harness("bbh/cot_fewshot/boolean_expressions.yaml", data["bbh"], num_fewshot=0, fewshot_config=None)
        yield from text_cases("bbh_cot", harness, [d | {"subtask": "one", "examples": "none"} for d in data["bbh"]], bbh_answers, {"accuracy": ("get-answer", "exact_match")}, False, imported=True)
    for subtask, (prompt, examples) in data.get("bbh_subtasks", {}).items():
        harness = Harness(f"bbh/cot_fewshot/{subtask}.yaml", examples, 3)
        score = {"accuracy": ("get-answer", "exact_match")}
        first = lambda d: [next(bbh_answers(d))]
        others = lambda d: list(bbh_answers(d))[1:]
        # The whole question once for each item, from the authors' two files; the other answers without it. In one subtask the harness has
        # put a newline behind the examples' "step by step." where the authors' file has a space.
        yield from text_cases("bbh_cot", harness, [d | {"text": prompt} for d in examples], first, score, subtask != "sports_understanding", file=subtask + ".jsonl")
        yield from text_cases("bbh_cot", harness, [d | {"subtask": subtask, "examples": "none"} for d in examples], others, score, False, imported=True)
    if "ifeval" in data:
        import langdetect
        langdetect.DetectorFactory.seed = 0  # else it answers by chance
        yield from instruction_cases(data["ifeval"], lambda d: IFEVAL_TEXTS + [d["prompt"] + "\n" + IFEVAL_TEXTS[0]])
        yield from instruction_cases([counting_item(i, text) for i, text in enumerate(data["counted"])], lambda d: [data["counted"][int(d["key"])]])
    if "cruxeval" in data:
        util = module_of(os.path.join(TASKS, "cruxeval/utils.py"))
        texts = {"input": ["\nassert f([1, (2)]) == 3\n", "assert f(x", " [1, 2] == [3]", "f('a(b')", "'x' # note\nmore", "assert f((1, 2), [3]) == f(4)"],
                 "output": ["\nassert f(x) == [1, 2]\n", "== 'a#b'", "\"quoted\"", " 7 # seven\nmore", "", "f(x) == 1 == 2"]}
        for kind in ("input", "output"):
            for item in data["cruxeval"]:
                for answer in texts[kind]:
                    yield {"task": "cruxeval_" + kind, "item": item, "response": answer, "program": getattr(util, "extract_code_" + kind)(item, answer, False), "scores": {}}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--data")
    parser.add_argument("--only", help="comma-separated names of data")
    options = parser.parse_args()
    generator = random.Random(1234)
    data = published(options.data) if options.data else invented(generator)
    if options.only:
        data = {name: data[name] for name in options.only.split(",")} | {"counted": data["counted"]}
    counts = {}
    with open(options.out, "w") as file:
        for case in cases_of(data, generator):
            counts[case["task"]] = counts.get(case["task"], 0) + 1  # of what is left out, too: ids do not depend on it
            if case.get("left_out"):
                continue
            case = {"id": f"{case['task']}-{counts[case['task']]}"} | case
            file.write(json.dumps(case) + "\n")
    print(sum(counts.values()), "cases:", ", ".join(f"{name} {count}" for name, count in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
