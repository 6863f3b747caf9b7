"""Statistics, machine learning and text."""

from checks_registry import check


def _samples(seed, rows=300):
    """Return features and a target that depends on them."""
    import numpy as np

    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 5))
    return x, x[:, 0] * 2 - x[:, 1] ** 2 + rng.normal(scale=0.1, size=rows)


@check("scikit-learn")
def check_scikit_learn():
    import numpy as np
    from sklearn import (
        cluster,
        decomposition,
        ensemble,
        linear_model,
        manifold,
        model_selection,
        neighbors,
        pipeline,
        svm,
    )
    from sklearn.exceptions import NotFittedError
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import StandardScaler

    x, y = _samples(1)
    label = y > 0
    steps = pipeline.make_pipeline(StandardScaler(), linear_model.LogisticRegression())
    try:
        svm.SVC().predict(x)
    except NotFittedError as error:
        message = type(error).__name__
    return {
        "boosting": ensemble.HistGradientBoostingRegressor(max_iter=30, random_state=0)
        .fit(x, y)
        .predict(x[:5])
        .round(5),
        "forest": ensemble.RandomForestClassifier(20, random_state=0, n_jobs=2)
        .fit(x, label)
        .predict_proba(x[:5])
        .round(5),
        "kmeans": np.bincount(cluster.KMeans(4, n_init=2, random_state=0).fit(x).labels_),
        "dbscan": np.unique(cluster.DBSCAN(0.9).fit(x).labels_).tolist(),
        "logistic": model_selection.cross_val_score(steps, x, label, cv=3).round(5),
        "lasso": linear_model.Lasso(0.05).fit(x, y).coef_.round(5),
        "svc": svm.SVC(gamma=0.5).fit(x, label).n_support_,
        "linear svc": svm.LinearSVC(random_state=0).fit(x, label).predict(x[:10]).tolist(),
        "neighbours": neighbors.KNeighborsRegressor(3, algorithm="ball_tree").fit(x, y).predict(x[:5]).round(6),
        "components": decomposition.PCA(2).fit(x).explained_variance_.round(6),
        "isomap": manifold.Isomap(n_components=2, n_neighbors=8).fit(x[:80]).reconstruction_error().round(3).item(),
        "words": TfidfVectorizer().fit_transform(["a red cat", "a red red dog"]).toarray().round(6),
        "error": message,
    }


@check("statsmodels")
def check_statsmodels():
    import numpy as np
    import pandas as pd
    import statsmodels.api as sm
    import statsmodels.formula.api as smf
    from statsmodels.nonparametric.smoothers_lowess import lowess
    from statsmodels.tsa.arima.model import ARIMA
    from statsmodels.tsa.holtwinters import SimpleExpSmoothing

    x, y = _samples(2, 120)
    frame = pd.DataFrame({"y": y, "a": x[:, 0], "b": x[:, 1], "g": np.where(x[:, 2] > 0, "hi", "lo")})
    linear = sm.OLS(y, sm.add_constant(x)).fit()
    series = np.cumsum(x[:, 0])
    return {
        "linear": linear.params.round(6),
        "p values": linear.pvalues.round(6),
        "formula": smf.ols("y ~ a + I(b ** 2) + C(g)", frame).fit().params.round(6).to_dict(),
        "logit": sm.GLM((y > 0).astype(float), sm.add_constant(x), family=sm.families.Binomial()).fit().params.round(4),
        "arima": ARIMA(series, order=(1, 0, 0), trend="n").filter([0.9, 1.0]).forecast(3).round(6),
        "smoothing": SimpleExpSmoothing(series, initialization_method="known", initial_level=0)
        .fit(0.3, optimized=False)
        .forecast(1)
        .round(6),
        "lowess": lowess(y, x[:, 0])[:3].round(6),
        "density": sm.nonparametric.KDEUnivariate(y).fit().density[:200:50].round(6),
        "correlation": sm.tsa.acf(series, nlags=3, fft=False).round(6),
    }


@check("lightgbm")
def check_lightgbm():
    import lightgbm as lgb
    import numpy as np

    x, y = _samples(3)
    settings = {"verbose": -1, "num_threads": 1, "deterministic": True, "seed": 1, "num_leaves": 7}
    seen = {}
    booster = lgb.train(
        settings | {"objective": "regression"},
        lgb.Dataset(x[:200], y[:200]),
        20,
        valid_sets=[lgb.Dataset(x[200:], y[200:])],
        callbacks=[lgb.record_evaluation(seen)],
    )
    own = lgb.train(
        settings | {"objective": lambda p, data: (p - data.get_label(), np.ones_like(p))}, lgb.Dataset(x, y), 5
    )
    again = lgb.Booster(model_str=booster.model_to_string())
    return {
        "predicted": again.predict(x[:5], num_threads=1).round(6),
        "losses": np.round(seen["valid_0"]["l2"], 6),
        "importance": booster.feature_importance(),
        "own objective": own.predict(x[:5]).round(6),
        "contributions": booster.predict(x[:1], pred_contrib=True).round(6),
        "classes": lgb.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1).fit(x, y > 0).predict(x[:9]).tolist(),
    }


@check("xgboost-cpu")
def check_xgboost():
    import numpy as np
    import xgboost as xgb

    x, y = _samples(4)

    class Batches(xgb.DataIter):  # the library calls back into Python for each batch
        def __init__(self):
            self.at = 0
            super().__init__()

        def next(self, input_data):
            if self.at == 3:
                return False
            part = slice(self.at * 100, self.at * 100 + 100)
            input_data(data=x[part], label=y[part])
            self.at += 1
            return True

        def reset(self):
            self.at = 0

    settings = {"max_depth": 3, "nthread": 1, "seed": 1, "verbosity": 0}
    data = xgb.DMatrix(x, y, nthread=1)
    seen = {}
    booster = xgb.train(settings, data, 15, evals=[(data, "train")], evals_result=seen, verbose_eval=False)
    again = xgb.Booster(settings, model_file=booster.save_raw("json"))
    batched = xgb.train(settings | {"tree_method": "hist"}, xgb.QuantileDMatrix(Batches(), nthread=1), 5)
    own = xgb.train(settings, data, 5, obj=lambda p, d: (p - d.get_label(), np.ones_like(p)))
    try:
        xgb.train(settings | {"objective": "nothing"}, data, 1)
    except xgb.core.XGBoostError as error:
        message = type(error).__name__
    return {
        "predicted": again.predict(data)[:5].round(4),
        "losses": np.round(seen["train"]["rmse"], 4),
        "batched": batched.predict(data)[:5].round(4),
        "own objective": own.predict(data)[:5].round(4),
        "trees": len(booster.get_dump()),
        "classes": xgb.XGBClassifier(n_estimators=5, n_jobs=1).fit(x, y > 0).predict(x[:9]).tolist(),
        "error": message,
    }


@check("catboost")
def check_catboost():
    import catboost
    import numpy as np

    x, y = _samples(5)
    kinds = np.where(x[:, 2] > 0, "hi", "lo")
    rows = [[*map(float, row), kind] for row, kind in zip(x.round(6), kinds, strict=True)]
    settings = {"thread_count": 1, "random_seed": 1, "verbose": False, "allow_writing_files": False, "depth": 3}
    pool = catboost.Pool(rows, y, cat_features=[5], thread_count=1)
    model = catboost.CatBoostRegressor(iterations=20, **settings).fit(pool)
    classes = catboost.CatBoostClassifier(iterations=10, **settings).fit(x, y > 0)
    try:
        catboost.CatBoostRegressor(loss_function="nothing", **settings).fit(pool)
    except catboost.CatBoostError as error:
        message = type(error).__name__
    return {
        "predicted": model.predict(pool, thread_count=1)[:5].round(5),
        "importance": np.round(model.get_feature_importance(thread_count=1), 4),
        "losses": np.round(model.get_evals_result()["learn"]["RMSE"], 5),
        "probabilities": classes.predict_proba(x[:3], thread_count=1).round(5),
        "trees": model.tree_count_,
        "error": message,
    }


@check("thinc")
def check_thinc():
    import numpy as np
    from thinc.api import (
        Adam,
        CategoricalCrossentropy,
        Linear,
        Maxout,
        NumpyOps,
        Relu,
        Softmax,
        chain,
        list2ragged,
        with_array,
    )

    x, y = _samples(6)
    x = x.astype("f4")
    truth = np.eye(2, dtype="f4")[(y > 0).astype(int)]
    rng = np.random.default_rng(6)
    model = chain(Relu(8), Maxout(6, nP=2), Softmax())
    model.initialize(X=x, Y=truth)
    for node in model.walk():  # the initial weights come from the global random state
        for name in node.param_names:
            if node.has_param(name):
                node.set_param(name, rng.normal(scale=0.3, size=node.get_param(name).shape).astype("f4"))
    loss, optimizer, losses = CategoricalCrossentropy(), Adam(0.05), []
    for _ in range(10):
        guess, backprop = model.begin_update(x)
        gradient, value = loss(guess, truth)
        backprop(gradient)
        model.finish_update(optimizer)
        losses.append(round(float(value), 3))
    again = chain(Relu(8), Maxout(6, nP=2), Softmax())
    again.from_bytes(model.to_bytes())
    ops = NumpyOps()
    ragged = list2ragged().predict([x[:2], x[2:5]])
    linear = with_array(Linear(2, 5))
    linear.initialize()
    return {
        "losses": losses,
        "predicted": again.predict(x[:4]).round(2),
        "window": ops.seq2col(x[:3], 1).round(5),
        "pooled": ops.reduce_mean(ragged.dataXd, ragged.lengths).round(5),
        "hashes": ops.hash(np.arange(3, dtype="uint64"), 5),
        "shapes": [part.shape for part in linear.predict([x[:2], x[2:5]])],
    }


@check("blis")
def check_blis():
    import blis.py
    import numpy as np

    rng = np.random.default_rng(8)
    a, b = rng.normal(size=(20, 30)), rng.normal(size=(30, 10))
    a4, b4 = a.astype("f4"), b.astype("f4")
    y = np.ones(30)
    blis.py.axpy(a[0].copy(), scale=2.0, out=y)
    return {
        "gemm": blis.py.gemm(a, b).round(8),
        "transposed": blis.py.gemm(b4, a4, trans1=True, trans2=True).round(3),  # for doubles, it reads beyond the end
        "gemv": blis.py.gemv(a, y).round(8),
        "axpy": y.round(8),
        "dot": round(float(blis.py.dotv(a[0].copy(), a[1].copy())), 8),
        "einsum": blis.py.einsum("ab,bc->ca", a4, b4).round(3),
    }


@check("cymem")
def check_cymem():
    import ctypes

    from cymem.cymem import Address, Pool

    blocks = [Address(i, 8) for i in range(1, 50)]
    zeros = all(ctypes.string_at(block.addr, 8 * i) == bytes(8 * i) for i, block in enumerate(blocks, 1))
    ctypes.memset(blocks[4].addr, 7, 40)
    pool = Pool()
    pool.own_pyref(blocks)
    try:
        Address(-1, 8)
    except OverflowError as error:
        message = str(error)
    return zeros, ctypes.string_at(blocks[4].addr, 4), pool.size, len(pool.refs), message


@check("preshed")
def check_preshed():
    from preshed.bloom import BloomFilter
    from preshed.counter import PreshCounter
    from preshed.maps import PreshMap

    table = PreshMap(initial_size=4)
    counter = PreshCounter()
    bloom = BloomFilter(size=1024, hash_funcs=5)
    for i in range(1, 200):
        table[i * i] = i
        counter.inc(i, max(1, 60 // i))
        bloom.add(i * 3)
    table.pop(49)
    again = BloomFilter().from_bytes(bloom.to_bytes())
    counter.smooth()
    return {
        "length": len(table),
        "items": sorted(table.items())[:5],
        "missing": (table[49], table[50]),
        "counts": sorted(counter)[:5],
        "smooth": round(counter.prob(3), 8),
        "bloom": [i for i in range(1, 30) if i in again],
    }


@check("murmurhash")
def check_murmurhash():
    from murmurhash.mrmr import hash, hash_bytes, hash_unicode

    return [
        f(value, seed) for seed in (0, 7) for f, value in ((hash, "ab"), (hash_bytes, b"\xff"), (hash_unicode, "é"))
    ]


@check("srsly")
def check_srsly():
    import numpy as np
    import srsly

    value = {"name": "é", "parts": [1, 2.5, None, True], "inner": {"k": "v"}}
    packed = srsly.msgpack_dumps(value | {"array": np.arange(6).reshape(2, 3)})
    try:
        srsly.json_loads("{not json}")
    except ValueError as error:
        message = str(error)
    return {
        "json": srsly.json_dumps(value, sort_keys=True),
        "parsed": srsly.json_loads('{"a": [1, -0.5, "\\u00e9"]}'),
        "msgpack": srsly.msgpack_loads(packed)["array"],
        "size": len(packed),
        "yaml": srsly.yaml_dumps(value),
        "from yaml": srsly.yaml_loads("a: [1, 2]\nb: {c: yes}\n"),
        "pickle": srsly.pickle_loads(srsly.pickle_dumps(value)) == value,
        "error": message,
    }


_TEXT = [
    "a red cat saw a red dog",
    "the dog saw the sea and the sea saw a cat",
    "redder cats see dogs at sea",
    "ça já é",
]


@check("tokenizers")
def check_tokenizers():
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator((line for line in _TEXT * 3), trainer)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    tokenizer.enable_padding()
    batch = tokenizer.encode_batch(["a red sea", "the cats and dogs", "é"])
    again = Tokenizer.from_str(tokenizer.to_str())
    return {
        "size": tokenizer.get_vocab_size(),
        "tokens": [encoding.tokens for encoding in batch],
        "ids": [encoding.ids for encoding in batch],
        "offsets": batch[1].offsets,
        "decoded": again.decode_batch([encoding.ids for encoding in batch]),
    }


@check("tiktoken")
def check_tiktoken():
    import tiktoken

    ranks = {bytes([i]): i for i in range(256)}
    for pair in (b"th", b"the", b" t", b" the", b"se", b"sea", b" sea", b"re", b"red", b" red", b"\xc3\xa9"):
        ranks[pair] = len(ranks)
    encoding = tiktoken.Encoding(
        "own", pat_str=r"\s?\w+|[^\w\s]+|\s+", mergeable_ranks=ranks, special_tokens={"<end>": 1000}
    )
    text = "the red sea, the sé!"
    try:
        encoding.encode("a<end>")
    except ValueError as error:
        message = str(error).splitlines()[0]
    return {
        "ids": encoding.encode(text),
        "back": encoding.decode(encoding.encode(text)),
        "batch": encoding.encode_ordinary_batch(_TEXT, num_threads=2),
        "special": encoding.encode("sea<end>", allowed_special="all"),
        "array": encoding.encode_to_numpy("the sea"),
        "offsets": encoding.decode_with_offsets(encoding.encode("sé the")),
        "unstable": encoding.encode_with_unstable("the s")[0],
        "error": message,
    }
