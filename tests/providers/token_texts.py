"""Texts of several kinds, with the tokens that tokenizers of well-known models count.

The counts are those of the vocabularies themselves: GPT-4o's (`o200k_base`), Mistral's
(Tekken 240911), and Gemma 3's as a llama.cpp server applies it.
"""

from typing import NamedTuple


class CountedText(NamedTuple):
    """A text, and its tokens by the name of the tokenizer."""

    text: str
    counts: dict[str, int]


PROSE = """\
The harbour was quiet when the ferry came in. Two men in yellow coats caught the ropes
and made them fast, and the first passengers were already standing at the rail with
their bicycles and their children. Nobody was in a hurry. The bakery on the corner had
opened at six, as it did on every day of the year except Christmas, and the smell of
bread reached as far as the customs house. "You should stay until Thursday," said the
woman at the counter, counting the change into my hand. "On Thursday there is a market,
and the weather will be better." I told her that I had to be in the capital by noon, and
that the train would not wait. She shrugged, as if to say that trains were invented by
people who had never eaten a proper breakfast.
"""
CODE = '''\
class Inventory:
    """The stock of one warehouse, by article."""

    def __init__(self, path: Path, *, reserve: int = 10) -> None:
        self._path = path
        self._reserve = reserve
        self._stock: dict[str, int] = {}

    def take(self, article: str, count: int) -> int:
        available = self._stock.get(article, 0) - self._reserve
        if count <= 0 or available < count:
            raise OutOfStock(f"{article}: {available} left, {count} requested")
        self._stock[article] -= count
        self._save()
        return self._stock[article]

    def _save(self) -> None:
        lines = [f"{name};{count}" for name, count in sorted(self._stock.items())]
        self._path.write_text("\\n".join(lines), encoding="utf-8")
'''
JAVASCRIPT = """\
export async function loadOrders(customer, { signal, page = 1 } = {}) {
  const url = new URL(`/api/customers/${encodeURIComponent(customer)}/orders`, base);
  url.searchParams.set("page", String(page));
  const response = await fetch(url, { signal, headers: { \
accept: "application/json" } });
  if (!response.ok) throw new HttpError(response.status, await response.text());
  const { orders, next } = await response.json();
  return orders.filter((order) => order.state !== "cancelled").concat(
    next ? await loadOrders(customer, { signal, page: next }) : [],
  );
}
"""
CHINESE = """\
渡轮进港的时候，码头上很安静。两个穿黄色外套的人接住缆绳，把船系好，第一批乘客已经带着自行车和孩子站在栏杆旁边。\
谁也不着急。街角的面包店六点钟就开门了，除了春节，一年里每天都是这样，面包的香味一直飘到海关大楼。\
“您应该住到星期四，”柜台后面的女人一边数着零钱一边说，“星期四有集市，天气也会好一些。”\
我告诉她，我中午之前必须赶到首都，火车是不会等人的。她耸了耸肩，好像在说，火车是由从来没有好好吃过早饭的人发明的。
"""
JAPANESE = """\
フェリーが入港したとき、港は静かだった。黄色い上着を着た二人の男がロープを受け取って船をつなぎ、\
最初の乗客たちはもう自転車や子どもたちと一緒に手すりのそばに立っていた。急いでいる人はいなかった。\
角のパン屋は、お正月を除いて一年中そうであるように、六時に店を開けていて、パンの香りは税関の建物まで届いていた。\
「木曜日までいらっしゃればいいのに」と、カウンターの女性はお釣りを数えながら言った。\
「木曜日には市場が開かれますし、天気もよくなりますよ。」私は、正午までに首都に着かなければならないと答えた。
"""
KOREAN = """\
여객선이 들어왔을 때 항구는 조용했다. 노란 외투를 입은 두 남자가 밧줄을 받아 \
배를 묶었고, 첫 승객들은 벌써 자전거와 아이들을 데리고 난간 옆에 서 있었다. \
서두르는 사람은 아무도 없었다. 모퉁이의 빵집은 설날을 빼고는 일 년 내내 그렇듯이 \
여섯 시에 문을 열었고, 빵 냄새는 세관 건물까지 퍼졌다. "목요일까지 계시면 좋을 \
텐데요." 계산대의 여자가 거스름돈을 세며 말했다. "목요일에는 장이 서고 날씨도 더 \
좋아질 거예요." 나는 정오까지 수도에 도착해야 한다고 대답했다.
"""

TEXTS = {
    "English prose": CountedText(
        PROSE, {"GPT-4o": 167, "Mistral": 169, "Gemma 3": 169}
    ),
    "Python": CountedText(CODE, {"GPT-4o": 198, "Mistral": 202, "Gemma 3": 222}),
    "JavaScript": CountedText(
        JAVASCRIPT, {"GPT-4o": 137, "Mistral": 138, "Gemma 3": 161}
    ),
    "Chinese": CountedText(CHINESE, {"GPT-4o": 174, "Mistral": 189, "Gemma 3": 147}),
    "Japanese": CountedText(JAPANESE, {"GPT-4o": 196, "Mistral": 177, "Gemma 3": 146}),
    "Korean": CountedText(KOREAN, {"GPT-4o": 178, "Mistral": 143, "Gemma 3": 161}),
}
