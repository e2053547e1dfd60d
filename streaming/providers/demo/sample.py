"""A text with every Markdown element, to check its display in a client."""

MARKDOWN = r"""# How light becomes sugar

Plants turn **light**, water and carbon dioxide into *sugar* and oxygen; see
[photosynthesis](https://en.wikipedia.org/wiki/Photosynthesis). In short:

$$6\,CO_2 + 6\,H_2O \rightarrow C_6H_{12}O_6 + 6\,O_2$$

## The two stages

1. **Light reactions**, in the thylakoids
   - split water, H<sub>2</sub>O, and set oxygen free
   - load `ATP` and `NADPH`
     - which are the cell's batteries
2. **Calvin cycle**, in the stroma
   1. fixes CO<sub>2</sub>
   2. builds sugar from it

| Stage | Where | Takes in | Gives out | ATP |
|---|---|---|---|---:|
| Light reactions | thylakoids | light, water | oxygen | +18 |
| Calvin cycle | stroma | CO<sub>2</sub> | sugar | −18 |

> A leaf keeps about 3 to 6 % of the light that falls on it.
>
> Silicon does better, and makes no sugar.

### How fast it goes

The rate follows light until the enzymes are busy: \(P = P_{max} \cdot I / (I + K)\).

```python
def rate(light: float, *, maximum: float = 20.0, half: float = 150.0) -> float:
    '''How much is fixed, in µmol a second and square metre.'''
    return maximum * light / (light + half)  # Michaelis and Menten


for light in (50, 150, 1500):
    print(f"{light:>5} {rate(light):6.2f}")
```

```json
{"light": 150, "rate": 10.0, "limited": true, "by": ["light", null]}
```

To try it at home:

- [x] put a water plant under a lamp
- [x] count the bubbles
- [ ] move the lamp away, and count ~~no more~~ again

---

That is *all*: `show markdown` ends here."""
